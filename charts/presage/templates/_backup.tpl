{{- define "presage.backupName" -}}
{{ include "presage.fullname" . }}-backup
{{- end }}

{{- define "presage.backupSelector" -}}
app.kubernetes.io/name: {{ include "presage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: backup
{{- end }}

{{- define "presage.backupLabels" -}}
{{ include "presage.labels" . }}
app.kubernetes.io/component: backup
{{- end }}

{{- define "presage.backupSecret" -}}
{{ .Release.Name }}-backup
{{- end }}

{{/* What is copied, as a list of NAME=URI: lakes, MLflow's artefacts, and what else is named. */}}
{{- define "presage.backupPlaces" -}}
{{- $places := list }}
{{- with (include "presage.settings" . | fromYaml).lake }}
{{- with .s3 }}{{ $places = append $places (printf "lakes=%s" .uri) }}{{ end }}
{{- end }}
{{- if and .Values.minio.enabled .Values.mlflow.enabled }}{{ $places = append $places "mlflow=s3://mlflow" }}{{ end }}
{{- range .Values.backup.places }}{{ $places = append $places (printf "%s=%s" .name .uri) }}{{ end }}
{{- toJson $places }}
{{- end }}

{{/* The database that is dumped; nothing where there is none. */}}
{{- define "presage.backupDatabase" -}}
{{- $given := .Values.backup.mysql }}
{{- if .Values.mysql.enabled }}
host: {{ include "presage.dependency" (dict "context" . "name" "mysql") }}
secret: {{ $given.existingSecret | default .Values.mysql.auth.existingSecret | default (include "presage.dependency" (dict "context" . "name" "mysql")) }}
image: {{ include "presage.image" (dict "image" .Values.mysql.image "context" .) }}
{{- if .Values.mysql.tls.enabled }}
authority: {{ .Values.mysql.tls.existingSecret }}
{{- end }}
{{- else if $given.host }}
host: {{ $given.host }}
secret: {{ $given.existingSecret }}
image: {{ include "presage.image" (dict "image" $given.image "context" .) }}
{{- end }}
{{- end }}

{{- define "presage.backupPlace" -}}
{{ .Values.backup.target.uri | default "/backups" }}
{{- end }}

{{/* One key of a Secret as a variable: (dict "variable" NAME "secret" NAME "key" KEY). */}}
{{- define "presage.backupVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{- define "presage.backupEnvironment" -}}
{{- $settings := include "presage.settings" . | fromYaml }}
{{- $lake := dig "lake" "s3" dict $settings }}
{{- $secret := ternary (include "presage.backupSecret" .) ($lake.secretName | default "") .Values.minio.enabled }}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- {name: AWS_REGION, value: {{ $lake.region | default "us-east-1" }}}
{{- with $lake.endpoint }}
- {name: AWS_ENDPOINT_URL, value: {{ quote . }}}
{{- end }}
{{- with $secret }}
{{ include "presage.backupVariable" (dict "variable" "AWS_ACCESS_KEY_ID" "secret" . "key" "AWS_ACCESS_KEY_ID") }}
{{ include "presage.backupVariable" (dict "variable" "AWS_SECRET_ACCESS_KEY" "secret" . "key" "AWS_SECRET_ACCESS_KEY") }}
{{- end }}
{{- with .Values.backup.target }}
{{- if .uri }}
- {name: PRESAGE_BACKUP_AWS_REGION, value: {{ .region }}}
- {name: PRESAGE_BACKUP_AWS_ENDPOINT_URL, value: {{ .endpoint | default (printf "https://s3.%s.amazonaws.com" .region) | quote }}}
{{- with .existingSecret }}
{{ include "presage.backupVariable" (dict "variable" "PRESAGE_BACKUP_AWS_ACCESS_KEY_ID" "secret" . "key" "AWS_ACCESS_KEY_ID") }}
{{ include "presage.backupVariable" (dict "variable" "PRESAGE_BACKUP_AWS_SECRET_ACCESS_KEY" "secret" . "key" "AWS_SECRET_ACCESS_KEY") }}
{{- end }}
{{- end }}
{{- end }}
{{- with $settings.pushgateway }}
- {name: PRESAGE_PUSHGATEWAY, value: {{ quote . }}}
{{- end }}
{{- end }}

{{/* The container that copies: (dict "context" $ "name" NAME "args" LIST). */}}
{{- define "presage.backupContainer" -}}
{{- $values := .context.Values -}}
name: {{ .name }}
image: {{ include "presage.image" (dict "image" $values.steps.image "context" .context) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  {{- toYaml $values.securityContext | nindent 2 }}
command: [presage]
args: {{ toJson .args }}
env:
  {{- include "presage.backupEnvironment" .context | nindent 2 }}
resources:
  {{- toYaml $values.backup.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: dump, mountPath: /dump}
  {{- if not $values.backup.target.uri }}
  - {name: backups, mountPath: /backups}
  {{- end }}
{{- end }}

{{/* The container that talks to the database: (dict "context" $ "name" NAME "script" TEXT). */}}
{{- define "presage.backupClient" -}}
{{- $values := .context.Values -}}
{{- $database := include "presage.backupDatabase" .context | fromYaml -}}
name: {{ .name }}
image: {{ $database.image }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  {{- toYaml $values.securityContext | nindent 2 }}
command: [sh, -ec]
args:
  - |
    {{- .script | nindent 4 }}
env:
  - {name: HOME, value: /tmp}
  # Among its arguments others might see it.
  {{- include "presage.backupVariable" (dict "variable" "MYSQL_PWD" "secret" $database.secret "key" $values.backup.mysql.passwordKey) | nindent 2 }}
resources:
  {{- toYaml $values.backup.mysql.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: dump, mountPath: /dump}
  {{- if $database.authority }}
  - {name: authority, mountPath: /etc/mysql-tls, readOnly: true}
  {{- end }}
{{- end }}

{{/* Options of MySQL's and MariaDB's clients. */}}
{{- define "presage.backupConnection" -}}
{{- $database := include "presage.backupDatabase" . | fromYaml -}}
--host={{ $database.host }} --port={{ .Values.backup.mysql.port }} --user={{ .Values.backup.mysql.user }}{{ if $database.authority }} --ssl-ca=/etc/mysql-tls/ca.crt{{ end }}
{{- end }}

{{- define "presage.backupDump" -}}
program="$(command -v mysqldump || command -v mariadb-dump)"
"$program" {{ include "presage.backupConnection" . }} \
  --single-transaction --quick --routines --no-tablespaces --result-file=/dump/mysql.sql \
  --databases {{ join " " .Values.backup.mysql.databases }}
{{- end }}

{{- define "presage.backupLoad" -}}
program="$(command -v mysql || command -v mariadb)"
"$program" {{ include "presage.backupConnection" . }} < /dump/mysql.sql
echo "the databases of the dump are loaded"
{{- end }}

{{/* What both Pods have beside containers. */}}
{{- define "presage.backupPod" -}}
{{- $database := include "presage.backupDatabase" . | fromYaml -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.backup.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml (merge (dict "fsGroup" (.Values.podSecurityContext.runAsGroup | default 65532)) .Values.podSecurityContext) | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: dump
    emptyDir: {}
  {{- if not .Values.backup.target.uri }}
  - name: backups
    persistentVolumeClaim:
      claimName: {{ .Values.backup.target.volume.existingClaim | default (include "presage.backupName" .) }}
  {{- end }}
  {{- with $database.authority }}
  - name: authority
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items: [{key: ca.crt, path: ca.crt}]
  {{- end }}
{{- end }}

{{- define "presage.backupMetadata" -}}
labels:
  app.kubernetes.io/part-of: presage
  {{- include "presage.backupSelector" . | nindent 2 }}
{{- end }}

{{- define "presage.backupValidate" -}}
{{- $target := .Values.backup.target }}
{{- if not (include "presage.backupPlaces" . | fromJsonArray) }}
{{- fail "backup.enabled: no bucket is known to back up; enable minio, or name one in external.s3.uri or backup.places. Lakes on volumes: see docs/backup.md." }}
{{- end }}
{{- if and $target.uri $target.volume.existingClaim }}
{{- fail "backup.target: backups are in a bucket or on a volume; give uri or volume.existingClaim." }}
{{- end }}
{{- if and .Values.mysql.enabled .Values.backup.mysql.host }}
{{- fail "backup.mysql.host: with mysql.enabled that one is dumped; leave it empty." }}
{{- end }}
{{- if and .Values.backup.mysql.host (not .Values.backup.mysql.existingSecret) }}
{{- fail "backup.mysql.existingSecret: name the Secret with the password of backup.mysql.user." }}
{{- end }}
{{- end }}
