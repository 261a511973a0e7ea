{{/* What MySQL 8 and MariaDB 10.6 and later both know; `loose_` begins what only one of them does. */}}
{{- define "mysql.configuration" -}}
[mysqld]
bind_address = *
skip_name_resolve
character_set_server = utf8mb4
collation_server = utf8mb4_unicode_ci
default_time_zone = +00:00
max_connections = {{ .Values.maxConnections }}
max_allowed_packet = 64M
innodb_buffer_pool_size = {{ .Values.innodbBufferPoolSize }}
innodb_flush_log_at_trx_commit = 1
performance_schema = {{ ternary "ON" "OFF" .Values.performanceSchema }}
local_infile = OFF
loose_mysqlx = OFF
{{- if .Values.binaryLog.enabled }}
server_id = 1
log_bin = binlog
sync_binlog = 1
binlog_expire_logs_seconds = {{ int .Values.binaryLog.expireSeconds }}
{{- else }}
skip_log_bin
{{- end }}
{{- if .Values.tls.enabled }}
require_secure_transport = ON
ssl_ca = /etc/mysql-tls/ca.crt
ssl_cert = /etc/mysql-tls/tls.crt
ssl_key = /etc/mysql-tls/tls.key
{{- end }}
{{- with .Values.extraConfiguration }}
{{ trim . }}
{{- end }}
{{- end }}

{{/* The shell's function `client` talks to the server from another Pod; its password is in MYSQL_PWD. */}}
{{- define "mysql.client" -}}
program="$(command -v mysql || command -v mariadb)"
client() { "$program" --host={{ include "common.fullname" (dict "root" .) }}{{ if .Values.tls.enabled }} --ssl-ca=/etc/mysql-tls/ca.crt{{ end }} "$@"; }
{{- end }}

{{- define "mysql.ping" -}}
exec:
  # It tells that the server answers, even where it refuses: the password of root may have been changed. A certificate names
  # the Service, not this Pod; MySQL's client knows none of the options on that, and needs none.
  command:
    - bash
    - -c
    - MYSQL_PWD="$MYSQL_ROOT_PASSWORD" "$(command -v mysqladmin || command -v mariadb-admin)" {{ ternary "--loose-ssl --loose-skip-ssl-verify-server-cert" "--loose-skip-ssl" .Values.tls.enabled }} --host=127.0.0.1 --user=root ping
{{- end }}

{{/* Who may do what: users with their grants, and where their passwords are. */}}
{{- define "mysql.accounts" -}}
{{- $own := include "common.secretName" (dict "root" .) -}}
{{- $root := . }}
{{- range .Values.databases }}
- user: {{ .user }}
  secret: {{ tpl (.existingSecret | default $own) $root }}
  key: {{ .passwordKey }}
  grants: [ALL PRIVILEGES ON {{ include "mysql.allOf" .name }}]
{{- end }}
{{- range .Values.readers }}
- user: {{ .user }}
  secret: {{ tpl (.existingSecret | default $own) $root }}
  key: {{ .passwordKey }}
  grants: [{{ range $place, $name := .databases }}{{ if $place }}, {{ end }}SELECT ON {{ include "mysql.allOf" $name }}{{ end }}]
{{- end }}
{{- if .Values.metrics.enabled }}
- user: exporter
  secret: {{ $own }}
  key: exporter-password
  grants: [PROCESS ON *.*]
{{- end }}
{{- end }}

{{/* The tables of a database in a grant, where `_` would stand for any character. */}}
{{- define "mysql.allOf" -}}
`{{ . | replace "_" "\\_" }}`.*
{{- end }}

{{/* Keys of the chart's own Secret, as a list. */}}
{{- define "mysql.keys" -}}
{{- $own := include "common.secretName" (dict "root" .) -}}
{{- $keys := list "root-password" -}}
{{- range include "mysql.accounts" . | fromYamlArray }}
{{- if eq .secret $own }}{{ $keys = append $keys .key }}{{ end }}
{{- end }}
{{- uniq $keys | toJson }}
{{- end }}

{{/* What the chart's own Secret holds, as JSON. */}}
{{- define "mysql.secretData" -}}
{{- include "common.secretData" (dict "root" . "keys" (include "mysql.keys" . | fromJsonArray)) }}
{{- end }}

{{/* Other passwords, after a rotation, make another setup at the next upgrade. */}}
{{- define "mysql.secretsChecksum" -}}
{{- $root := . -}}
{{- $own := include "common.secretName" (dict "root" .) -}}
{{- $held := dict $own (include "mysql.secretData" . | fromJson) -}}
{{- range include "mysql.accounts" . | fromYamlArray }}
{{- if ne .secret $own }}
{{- $_ := set $held .secret ((lookup "v1" "Secret" $root.Release.Namespace .secret).data | default dict) }}
{{- end }}
{{- end }}
{{- $held | toJson | sha256sum }}
{{- end }}

{{- define "mysql.rootPassword" -}}
valueFrom:
  secretKeyRef:
    name: {{ include "common.secretName" (dict "root" .) }}
    key: root-password
{{- end }}

{{/* Of the certificate a client needs the authority alone. */}}
{{- define "mysql.authority" -}}
name: tls
secret:
  secretName: {{ .Values.tls.existingSecret }}
  defaultMode: 0440
  items: [{key: ca.crt, path: ca.crt}]
{{- end }}

{{- define "mysql.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- if not .Values.databases }}
{{- fail "databases: name one at least." }}
{{- end }}
{{- $names := list }}
{{- range .Values.databases }}{{ $names = append $names .name }}{{ end }}
{{- range .Values.readers }}
{{- range .databases }}
{{- if not (has . $names) }}
{{- fail (printf "readers: %s is none of databases: %s." . (join ", " $names)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
