{{- define "monitoring.datasources" -}}
{{- $mysql := .Values.grafana.mysql -}}
{{- $own := printf "http://%s" (include "monitoring.address" (dict "root" $ "part" "prometheus" "port" 9090)) -}}
apiVersion: 1
prune: true
datasources:
  - name: Prometheus
    uid: prometheus
    type: prometheus
    access: proxy
    url: {{ tpl .Values.grafana.prometheusUrl . | default $own }}
    isDefault: true
    editable: false
    jsonData:
      httpMethod: POST
      timeInterval: {{ .Values.prometheus.scrapeInterval }}
  {{- with tpl $mysql.host . }}
  - name: MySQL
    uid: mysql
    type: mysql
    access: proxy
    url: {{ . }}:{{ $mysql.port }}
    user: {{ $mysql.user }}
    editable: false
    jsonData:
      database: {{ $mysql.database }}
      timezone: "+00:00"
    secureJsonData:
      password: $GRAFANA_MYSQL_PASSWORD
  {{- end }}
{{- end }}

{{- define "monitoring.dashboardProvider" -}}
apiVersion: 1
providers:
  - name: presage
    folder: Presage
    type: file
    disableDeletion: true
    allowUiUpdates: false
    options:
      path: /etc/grafana-dashboards
{{- end }}
