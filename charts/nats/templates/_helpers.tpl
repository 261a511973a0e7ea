{{- define "nats.configuration" -}}
{{- $name := include "common.fullname" (dict "root" .) -}}
server_name: $NATS_SERVER_NAME
port: 4222
http_port: 8222
pid_file: /tmp/nats.pid
max_connections: {{ .Values.limits.maxConnections }}
max_payload: {{ .Values.limits.maxPayload }}
max_pending: {{ .Values.limits.maxPending }}
jetstream {
  store_dir: /data
  max_memory_store: {{ .Values.jetstream.memoryStore }}
  max_file_store: {{ .Values.jetstream.fileStore | default .Values.persistence.size }}
  sync_interval: {{ .Values.jetstream.syncInterval | quote }}
}
{{- if .Values.auth.enabled }}
authorization {
  user: $NATS_USER
  password: $NATS_PASSWORD
}
{{- end }}
{{- if .Values.tls.enabled }}
tls {
  {{- include "nats.certificates" . | nindent 2 }}
}
{{- end }}
{{- if gt (int .Values.replicas) 1 }}
lame_duck_grace_period: "5s"
lame_duck_duration: "30s"
cluster {
  name: {{ $name }}
  port: 6222
  routes: $NATS_ROUTES
  {{- if .Values.auth.enabled }}
  authorization {
    user: cluster
    password: $NATS_CLUSTER_PASSWORD
  }
  {{- end }}
  {{- if .Values.tls.enabled }}
  tls {
    {{- include "nats.certificates" . | nindent 4 }}
  }
  {{- end }}
}
{{- end }}
{{- with .Values.extraConfiguration }}
{{ . }}
{{- end }}
{{- end }}

{{- define "nats.certificates" -}}
cert_file: /etc/nats-tls/tls.crt
key_file: /etc/nats-tls/tls.key
ca_file: /etc/nats-tls/ca.crt
{{- end }}

{{/* The addresses of the servers, as the configuration's array. */}}
{{- define "nats.routes" -}}
{{- $name := include "common.fullname" (dict "root" .) -}}
{{- $user := ternary "cluster:$(SECRET_CLUSTER_PASSWORD)@" "" .Values.auth.enabled -}}
{{- $routes := list -}}
{{- range until (int .Values.replicas) }}
{{- $routes = append $routes (printf "nats://%s%s-%d.%s-headless.%s.svc:6222" $user $name . $name $.Release.Namespace) }}
{{- end }}
{{- toJson $routes }}
{{- end }}

{{- define "nats.credentials" -}}
{{- $secret := include "common.secretName" (dict "root" .) -}}
- name: SECRET_USER
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: user}}
- name: SECRET_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: password}}
{{- end }}

{{/* The server reads a variable as it reads its file: quotes make any password one word. */}}
{{- define "nats.environment" -}}
{{- $secret := include "common.secretName" (dict "root" .) -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: NATS_SERVER_NAME, value: "'$(POD_NAME)'"}
{{- if .Values.auth.enabled }}
{{ include "nats.credentials" . }}
- {name: NATS_USER, value: "'$(SECRET_USER)'"}
- {name: NATS_PASSWORD, value: "'$(SECRET_PASSWORD)'"}
{{- end }}
{{- if gt (int .Values.replicas) 1 }}
{{- if .Values.auth.enabled }}
- name: SECRET_CLUSTER_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: cluster-password}}
- {name: NATS_CLUSTER_PASSWORD, value: "'$(SECRET_CLUSTER_PASSWORD)'"}
{{- end }}
- name: NATS_ROUTES
  value: {{ include "nats.routes" . | squote }}
{{- end }}
{{- end }}

{{- define "nats.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- $many := gt (int .Values.replicas) 1 }}
{{- if and $many .Values.persistence.existingClaim }}
{{- fail "persistence.existingClaim: one claim is for one server; set replicas: 1, or leave the claims to the chart." }}
{{- end }}
{{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "common.fullname" (dict "root" .)) }}
{{- if and $there (ne $many (gt (int $there.spec.replicas) 1)) }}
{{- fail "replicas: a cluster does not keep the streams of a single server, nor one those of a cluster; see README.md." }}
{{- end }}
{{- end }}
