{{/* Names that clients call a server by; it refuses others. */}}
{{- define "mlflow.hosts" -}}
{{- $name := include "common.fullname" (dict "root" .) -}}
{{- $space := .Release.Namespace -}}
{{- $hosts := concat
  (list $name (printf "%s.%s" $name $space) (printf "%s.%s.svc" $name $space) (printf "%s.%s.svc.cluster.local" $name $space))
  (list "localhost" "127.0.0.1") .Values.allowedHosts -}}
{{- $all := list -}}
{{- range $hosts }}{{ $all = concat $all (ternary (list .) (list . (printf "%s:*" .)) (contains ":" .)) }}{{ end }}
{{- join "," $all }}
{{- end }}

{{/* What a server itself keeps is on a volume. */}}
{{- define "mlflow.keeps" -}}
{{- if or (eq .Values.database.type "sqlite") (not .Values.artifacts.destination) }}yes{{ end }}
{{- end }}

{{- define "mlflow.environment" -}}
- {name: HOME, value: /tmp}
- {name: MLFLOW_DISABLE_TELEMETRY, value: "true"}
{{- if eq .Values.database.type "sqlite" }}
- {name: DATABASE_FILE, value: /data/mlflow.db}
{{- else }}
- {name: DATABASE_HOST, value: {{ tpl .Values.database.host . | quote }}}
- {name: DATABASE_PORT, value: {{ .Values.database.port | int | quote }}}
- {name: DATABASE_NAME, value: {{ quote .Values.database.name }}}
- {name: DATABASE_USER, value: {{ quote .Values.database.user }}}
- name: DATABASE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ tpl .Values.database.existingSecret . }}
      key: {{ .Values.database.existingSecretKey }}
{{- if .Values.database.authoritySecret }}
- {name: MLFLOW_MYSQL_SSL_CA, value: /etc/mysql-tls/ca.crt}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mlflow.mounts" -}}
- {name: programs, mountPath: /etc/mlflow, readOnly: true}
{{- if include "mlflow.keeps" . }}
- {name: data, mountPath: /data}
{{- end }}
{{- if .Values.database.authoritySecret }}
- {name: authority, mountPath: /etc/mysql-tls, readOnly: true}
{{- end }}
{{ include "common.mounts" (dict "root" .) }}
{{- end }}

{{/* The port of the S3 store, as far as its address tells. */}}
{{- define "mlflow.storePort" -}}
{{- $port := .Values.artifacts.endpoint | default "https://amazonaws.com" | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- $port | default (ternary "80" "443" (hasPrefix "http://" .Values.artifacts.endpoint)) }}
{{- end }}

{{/* Other passwords, after a rotation, make other Pods at the next upgrade. */}}
{{- define "mlflow.secretsChecksum" -}}
{{- $root := . -}}
{{- $held := dict -}}
{{- range compact (list .Values.database.existingSecret .Values.artifacts.existingSecret) }}
{{- $name := tpl . $root }}
{{- $_ := set $held $name ((lookup "v1" "Secret" $root.Release.Namespace $name).data | default dict) }}
{{- end }}
{{- $held | toJson | sha256sum }}
{{- end }}

{{- define "mlflow.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- if eq .Values.database.type "mysql" }}
{{- if not .Values.database.host }}
{{- fail "database.host: name the host of MySQL, or set database.type: sqlite." }}
{{- end }}
{{- if not .Values.database.existingSecret }}
{{- fail "database.existingSecret: name the Secret with the password of database.user." }}
{{- end }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (include "mlflow.keeps" .) }}
{{- fail "replicas: several servers need database.type: mysql and artifacts.destination, for each would keep its own." }}
{{- end }}
{{- end }}
