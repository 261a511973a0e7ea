{{- define "redis.configuration" -}}
dir /data
appendonly {{ ternary "yes" "no" .Values.persistence.enabled }}
appendfsync everysec
maxmemory {{ .Values.maxmemory }}
maxmemory-policy {{ .Values.maxmemoryPolicy }}
{{- if .Values.tls.enabled }}
port 0
tls-port 6379
tls-cert-file /etc/redis-tls/tls.crt
tls-key-file /etc/redis-tls/tls.key
tls-ca-cert-file /etc/redis-tls/ca.crt
tls-auth-clients no
tls-replication yes
{{- end }}
{{- with .Values.extraConfiguration }}
{{ . }}
{{- end }}
{{- end }}

{{/* How the image's own client reaches a server; its password is in REDISCLI_AUTH. */}}
{{- define "redis.client" -}}
redis-cli{{ if .Values.tls.enabled }} --tls --cacert /etc/redis-tls/ca.crt{{ end }}
{{- end }}

{{- define "redis.password" -}}
valueFrom:
  secretKeyRef:
    name: {{ include "common.secretName" (dict "root" .) }}
    key: password
{{- end }}

{{- define "redis.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) .Values.persistence.existingClaim }}
{{- fail "persistence.existingClaim: one claim is for one server; set replicas: 1, or leave the claims to the chart." }}
{{- end }}
{{- end }}
