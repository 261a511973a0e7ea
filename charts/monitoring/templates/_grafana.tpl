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
      {{- if $mysql.authoritySecret }}
      tlsAuthWithCACert: true
      {{- end }}
    secureJsonData:
      password: $GRAFANA_MYSQL_PASSWORD
      {{- if $mysql.authoritySecret }}
      tlsCACert: $__file{/etc/grafana-mysql/ca.crt}
      {{- end }}
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
