{{/* The ports of clients: with TLS there are none without. */}}
{{- define "clickhouse.ports" -}}
{{- if .Values.tls.enabled }}
- {name: https, port: 8443}
- {name: native-tls, port: 9440}
{{- else }}
- {name: http, port: 8123}
- {name: native, port: 9000}
{{- end }}
{{- if .Values.metrics.enabled }}
- {name: metrics, port: 9363}
{{- end }}
{{- end }}

{{- define "clickhouse.host" -}}
{{- printf "%s.%s.svc" (include "common.fullname" (dict "root" .)) .Release.Namespace }}
{{- end }}

{{- define "clickhouse.url" -}}
{{- printf (ternary "https://%s:8443" "http://%s:8123" .Values.tls.enabled) (include "clickhouse.host" .) }}
{{- end }}

{{/* It comes after the image's own config.xml, and changes what it names. */}}
{{- define "clickhouse.configuration" -}}
<clickhouse>
  <logger>
    <level>{{ .Values.logLevel }}</level>
    <console>true</console>
    <log remove="remove"/>
    <errorlog remove="remove"/>
  </logger>
  <listen_host>::</listen_host>
  <listen_host>0.0.0.0</listen_host>
  <listen_try>1</listen_try>
  {{- if .Values.tls.enabled }}
  <http_port remove="remove"/>
  <tcp_port remove="remove"/>
  <https_port>8443</https_port>
  <tcp_port_secure>9440</tcp_port_secure>
  <openSSL>
    <server>
      <certificateFile>/etc/clickhouse-tls/tls.crt</certificateFile>
      <privateKeyFile>/etc/clickhouse-tls/tls.key</privateKeyFile>
      <disableProtocols>sslv2,sslv3,tlsv1,tlsv1_1</disableProtocols>
    </server>
  </openSSL>
  {{- else }}
  <http_port>8123</http_port>
  <tcp_port>9000</tcp_port>
  {{- end }}
  <mysql_port remove="remove"/>
  <postgresql_port remove="remove"/>
  <interserver_http_port remove="remove"/>
  {{- if .Values.metrics.enabled }}
  <prometheus>
    <endpoint>/metrics</endpoint>
    <port>9363</port>
    <metrics>true</metrics>
    <events>true</events>
    <asynchronous_metrics>true</asynchronous_metrics>
  </prometheus>
  {{- end }}
  <max_server_memory_usage_to_ram_ratio>{{ divf .Values.memoryPercent 100 }}</max_server_memory_usage_to_ram_ratio>
  {{- range list "query_log" "query_views_log" "part_log" "error_log" "backup_log" }}
  <{{ . }}>
    <ttl>event_date + INTERVAL {{ $.Values.systemLogDays }} DAY DELETE</ttl>
  </{{ . }}>
  {{- end }}
  {{- range list "asynchronous_metric_log" "latency_log" "metric_log" "opentelemetry_span_log" "processors_profile_log" "query_metric_log" "query_thread_log" "text_log" "trace_log" }}
  <{{ . }} remove="remove"/>
  {{- end }}
</clickhouse>
{{- end }}

{{/* The server stores what it has read beside the data: a digest goes there, not the password. */}}
{{- define "clickhouse.users" -}}
<clickhouse>
  <users>
    <default remove="remove"/>
    <presage>
      <password_sha256_hex from_env="CLICKHOUSE_PASSWORD_SHA256"/>
      <networks>
        <ip>::/0</ip>
      </networks>
      <profile>default</profile>
      <quota>default</quota>
    </presage>
  </users>
</clickhouse>
{{- end }}

{{/* Whom the image's own client trusts. */}}
{{- define "clickhouse.clientConfiguration" -}}
<config>
  <openSSL>
    <client>
      <caConfig>/etc/clickhouse-tls/ca.crt</caConfig>
      <loadDefaultCAFile>false</loadDefaultCAFile>
      <verificationMode>strict</verificationMode>
      <invalidCertificateHandler>
        <name>RejectCertificateHandler</name>
      </invalidCertificateHandler>
    </client>
  </openSSL>
</config>
{{- end }}

{{- define "clickhouse.files" -}}
config.xml: |
  {{- include "clickhouse.configuration" . | nindent 2 }}
users.xml: |
  {{- include "clickhouse.users" . | nindent 2 }}
{{- with .Values.extraConfiguration }}
extra-config.xml: |
  {{- . | trim | nindent 2 }}
{{- end }}
{{- with .Values.extraUsers }}
extra-users.xml: |
  {{- . | trim | nindent 2 }}
{{- end }}
{{- if .Values.tls.enabled }}
client.xml: |
  {{- include "clickhouse.clientConfiguration" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* How the image's own client reaches the server; the user and the password are in its environment. */}}
{{- define "clickhouse.client" -}}
clickhouse-client --host {{ include "clickhouse.host" . }}{{ if .Values.tls.enabled }} --port 9440 --secure --config-file /etc/clickhouse-client-tls/client.xml{{ end }}
{{- end }}

{{- define "clickhouse.password" -}}
- name: CLICKHOUSE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "common.secretName" (dict "root" .) }}
      key: password
{{- end }}

{{- define "clickhouse.clientEnv" -}}
- {name: CLICKHOUSE_USER, value: presage}
{{ include "clickhouse.password" . }}
# The client keeps a history there.
- {name: HOME, value: /tmp}
{{- end }}

{{- define "clickhouse.clientMounts" -}}
{{- if .Values.tls.enabled }}
- {name: tls, mountPath: /etc/clickhouse-tls, readOnly: true}
- {name: client, mountPath: /etc/clickhouse-client-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "clickhouse.clientVolumes" -}}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ .Values.tls.existingSecret }}
    defaultMode: 288
    items:
      - {key: ca.crt, path: ca.crt}
- name: client
  configMap:
    name: {{ include "common.fullname" (dict "root" .) }}
    items:
      - {key: client.xml, path: client.xml}
{{- end }}
{{- end }}

{{- define "clickhouse.setup" -}}
{{- range .Values.databases }}
{{ include "clickhouse.client" $ }} --query 'CREATE DATABASE IF NOT EXISTS {{ . }}'
{{- end }}
{{- end }}

{{- define "clickhouse.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- end }}
