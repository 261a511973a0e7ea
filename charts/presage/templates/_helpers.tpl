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
{{- $repository := .image.repository }}
{{- with .image.registry }}{{ $repository = printf "%s/%s" . $repository }}{{ end }}
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

{{/* The operator's settings file; what the values' settings say goes before what other values say. */}}
{{- define "presage.settings" -}}
{{- $images := dict
  "pullPolicy" .Values.image.pullPolicy
  "server" (include "presage.image" (dict "image" .Values.server.image "context" $))
  "steps" (include "presage.image" (dict "image" .Values.steps.image "context" $)) }}
{{- $settings := dict "images" $images "leaderElection" (dict "leaseName" (include "presage.leaseName" .)) }}
{{- with .Values.watchNamespaces }}{{ $_ := set $settings "namespaces" . }}{{ end }}
{{- toYaml (mergeOverwrite $settings (deepCopy .Values.settings)) }}
{{- end }}

{{- define "presage.healthPort" -}}
{{- .Values.settings.healthPort | default 8081 | int }}
{{- end }}

{{- define "presage.validate" -}}
{{- if .Values.settings.namespaces }}
{{- fail "settings.namespaces: give watchNamespaces in its place, so that the rights follow." }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) (not (dig "leaderElection" "enabled" true .Values.settings)) }}
{{- fail "settings.leaderElection.enabled: without election there must be one replica; set replicas: 1." }}
{{- end }}
{{- end }}
