{{- define "presage.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Leaves room for the longest suffix within 63 characters. */}}
{{- define "presage.fullname" -}}
{{- $name := include "presage.name" . }}
{{- $usual := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $usual | trunc 47 | trimSuffix "-" }}
{{- end }}

{{- define "presage.operatorName" -}}
{{ include "presage.fullname" . }}-operator
{{- end }}

{{- define "presage.serviceAccountName" -}}
{{- $usual := ternary (include "presage.operatorName" .) "default" .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default $usual }}
{{- end }}

{{- define "presage.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/name: {{ include "presage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "presage.operatorSelector" -}}
app.kubernetes.io/name: {{ include "presage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "presage.operatorLabels" -}}
{{ include "presage.labels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{/* A reference to an image: (dict "image" VALUES "context" $). */}}
{{- define "presage.image" -}}
{{- $global := .context.Values.global | default dict }}
{{- $repository := .image.repository }}
{{- with $global.imageRegistry | default .image.registry }}{{ $repository = printf "%s/%s" . $repository }}{{ end }}
{{- if .image.digest }}
{{- printf "%s@%s" $repository .image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (.image.tag | default .context.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Two releases in one namespace elect each for itself. */}}
{{- define "presage.leaseName" -}}
{{- dig "leaderElection" "leaseName" (include "presage.operatorName" .) .Values.settings }}
{{- end }}

{{/* Name of a dependency's objects, as its own chart has it: (dict "context" $ "name" NAME). Others are refused. */}}
{{- define "presage.dependency" -}}
{{ .context.Release.Name }}-{{ .name }}
{{- end }}

{{/* Address of a dependency, whole, for the Pods that ask are in other namespaces. */}}
{{- define "presage.address" -}}
{{- $secure := index .context.Values .name | default dict | dig "tls" "enabled" false -}}
{{ ternary "https" "http" $secure }}://{{ include "presage.dependency" . }}.{{ .context.Release.Namespace }}.svc:{{ .port }}
{{- end }}

{{- define "presage.lakeSecret" -}}
{{ .Release.Name }}-lake
{{- end }}

{{/* What the dependencies that come with the operator, or are there already, mean for its settings. */}}
{{- define "presage.platform" -}}
{{- if .Values.minio.enabled }}
lake:
  s3:
    uri: s3://presage/lakes
    endpoint: {{ include "presage.address" (dict "context" $ "name" "minio" "port" 9000) }}
    secretName: {{ include "presage.lakeSecret" . }}
{{- else if .Values.external.s3.uri }}
lake:
  s3:
    uri: {{ .Values.external.s3.uri }}
    region: {{ .Values.external.s3.region }}
    {{- with .Values.external.s3.endpoint }}
    endpoint: {{ . }}
    {{- end }}
    {{- with .Values.external.s3.secretName }}
    secretName: {{ . }}
    {{- end }}
{{- end }}
{{- if .Values.mlflow.enabled }}
tracking:
  uri: {{ include "presage.address" (dict "context" $ "name" "mlflow" "port" 5000) }}
{{- else if .Values.external.mlflow.uri }}
tracking:
  uri: {{ .Values.external.mlflow.uri }}
  {{- with .Values.external.mlflow.secretName }}
  secretName: {{ . }}
  {{- end }}
{{- end }}
{{- if .Values.monitoring.enabled }}
pushgateway: {{ include "presage.address" (dict "context" $ "name" "pushgateway" "port" 9091) }}
{{- else if .Values.external.pushgateway.url }}
pushgateway: {{ .Values.external.pushgateway.url }}
{{- end }}
{{- end }}

{{/* The operator's settings file; what the values' settings say goes before what other values say. */}}
{{- define "presage.settings" -}}
{{- $images := dict
  "pullPolicy" .Values.image.pullPolicy
  "server" (include "presage.image" (dict "image" .Values.server.image "context" $))
  "steps" (include "presage.image" (dict "image" .Values.steps.image "context" $)) }}
{{- $settings := dict "images" $images "leaderElection" (dict "leaseName" (include "presage.leaseName" .)) }}
{{- with .Values.watchNamespaces }}{{ $_ := set $settings "namespaces" . }}{{ end }}
{{- $settings = mergeOverwrite $settings (include "presage.platform" . | fromYaml) }}
{{- toYaml (mergeOverwrite $settings (deepCopy .Values.settings)) }}
{{- end }}

{{- define "presage.healthPort" -}}
{{- .Values.settings.healthPort | default 8081 | int }}
{{- end }}

{{- define "presage.validate" -}}
{{- if and .Values.minio.enabled .Values.external.s3.uri }}
{{- fail "external.s3.uri: with minio.enabled lakes are in MinIO; give one of the two." }}
{{- end }}
{{- if and .Values.mlflow.enabled .Values.external.mlflow.uri }}
{{- fail "external.mlflow.uri: with mlflow.enabled runs are told to that one; give one of the two." }}
{{- end }}
{{- if and .Values.monitoring.enabled .Values.external.pushgateway.url }}
{{- fail "external.pushgateway.url: with monitoring.enabled runs push to that one; give one of the two." }}
{{- end }}
{{- include "presage.validateNames" . }}
{{- include "presage.validateTls" . }}
{{- if .Values.settings.namespaces }}
{{- fail "settings.namespaces: give watchNamespaces in its place, so that the rights follow." }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not (dig "leaderElection" "enabled" true .Values.settings)) }}
{{- fail "settings.leaderElection.enabled: without election there must be one replica; set replicas: 1." }}
{{- end }}
{{- end }}

{{/* What comes along is found by its name, in values and in settings. */}}
{{- define "presage.validateNames" -}}
{{- $release := .Release.Name }}
{{- range $name := list "minio" "mysql" "mlflow" "monitoring" }}
{{- $values := index $.Values $name }}
{{- if $values.enabled }}
{{- $own := or $values.nameOverride $values.fullnameOverride }}
{{- if or $own (contains $name $release) (gt (len $release) 35) }}
{{- $found := ternary "<part>" $name (eq $name "monitoring") }}
{{- fail (printf "%s: others find it by the name %s-%s; give it no other name, and the release one of 35 characters at most without %q in it." $name $release $found $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.enabled .Values.nameOverride }}
{{- fail "nameOverride: Prometheus finds the operator by the chart's own name; leave it empty, or set fullnameOverride." }}
{{- end }}
{{- end }}

{{/* Of addresses in values nothing can be computed. */}}
{{- define "presage.validateTls" -}}
{{- $mlflow := .Values.mlflow }}
{{- $mysql := include "presage.dependency" (dict "context" . "name" "mysql") }}
{{- $minio := include "presage.dependency" (dict "context" . "name" "minio") }}
{{- if and .Values.mysql.enabled .Values.mysql.tls.enabled }}
{{- if and $mlflow.enabled (eq $mlflow.database.type "mysql") (eq (tpl $mlflow.database.host . | splitList "." | first) $mysql) (not $mlflow.database.authoritySecret) }}
{{- fail "mlflow.database.authoritySecret: with mysql.tls.enabled name the Secret with the ca.crt that MySQL's certificate is verified by." }}
{{- end }}
{{- $source := dig "grafana" "mysql" dict .Values.monitoring }}
{{- if and .Values.monitoring.enabled .Values.monitoring.grafana.enabled (eq (tpl $source.host . | splitList "." | first) $mysql) (not $source.authoritySecret) }}
{{- fail "monitoring.grafana.mysql.authoritySecret: with mysql.tls.enabled name the Secret with the ca.crt that MySQL's certificate is verified by." }}
{{- end }}
{{- end }}
{{- if and .Values.minio.enabled .Values.minio.tls.enabled $mlflow.enabled (regexMatch (printf "^http://%s[.:]" $minio) (tpl $mlflow.artifacts.endpoint .)) }}
{{- fail (printf "mlflow.artifacts.endpoint: with minio.tls.enabled it is https://%s:9000; MLflow trusts an authority of yours by AWS_CA_BUNDLE in mlflow.extraEnv." $minio) }}
{{- end }}
{{- end }}

{{- define "presage.credentials" -}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "presage.labels" .context | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  {{- toYaml .data | nindent 2 }}
{{- end }}
