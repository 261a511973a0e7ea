{{- define "common.name" -}}
{{- .root.Values.nameOverride | default .root.Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Leaves room for a StatefulSet's own suffixes within 63 characters. */}}
{{- define "common.fullname" -}}
{{- $name := include "common.name" . -}}
{{- $release := .root.Release.Name -}}
{{- $usual := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- $base := .root.Values.fullnameOverride | default $usual -}}
{{- with .part }}{{ $base = printf "%s-%s" $base . }}{{ end }}
{{- $base | trunc 47 | trimSuffix "-" }}
{{- end }}

{{- define "common.instance" -}}
app.kubernetes.io/name: {{ include "common.name" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* What a part is tells it from the Pods of tests and of setting up, which no Service may send anything to. */}}
{{- define "common.selector" -}}
{{ include "common.instance" . }}
app.kubernetes.io/component: {{ .part | default "server" }}
{{- end }}

{{- define "common.labels" -}}
{{- $chart := .root.Chart -}}
helm.sh/chart: {{ printf "%s-%s" $chart.Name $chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: presage
{{ include "common.selector" . }}
{{- end }}

{{/* The labels come last, so that an object may add its own. */}}
{{- define "common.metadata" -}}
name: {{ .name | default (include "common.fullname" .) }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "common.labels" . | nindent 2 }}
{{- end }}
