{{/*
Fills a map (dict "root" $ "part" "prometheus" "values" .Values.prometheus) with what the library's templates take of a part:
names that begin with the release's and not with the chart's, and the part's values joined by those that all parts share.
*/}}
{{- define "monitoring.part" -}}
{{- $root := .root -}}
{{- $prefix := $root.Values.fullnameOverride | default $root.Release.Name -}}
{{- $shared := omit $root.Values "prometheus" "alertmanager" "pushgateway" "grafana" "kafkaUi" "priceExporter" "lineRelay" -}}
{{- $values := merge (dict "fullnameOverride" $prefix) $shared -}}
{{- $_ := set . "root" (dict "Values" $values "Release" $root.Release "Chart" $root.Chart) -}}
{{- $_ = set . "values" (merge (deepCopy .values) $shared) -}}
{{- end }}

{{- define "monitoring.name" -}}
{{- $it := dict "root" .root "part" .part "values" dict -}}
{{- include "monitoring.part" $it -}}
{{- include "common.fullname" $it -}}
{{- end }}

{{/* Where Prometheus looks for Pods; none stands for everywhere. */}}
{{- define "monitoring.namespaces" -}}
{{- if .Values.jobNamespaces }}
{{- concat (list .Release.Namespace) .Values.jobNamespaces | uniq | sortAlpha | toJson }}
{{- end }}
{{- end }}

{{/* Where a part listens, as host:port. */}}
{{- define "monitoring.address" -}}
{{ include "monitoring.name" . }}.{{ .root.Release.Namespace }}.svc:{{ .port }}
{{- end }}

{{- define "monitoring.httpProbes" -}}
startupProbe:
  httpGet: {path: {{ .ready }}, port: {{ .port }}}
  periodSeconds: {{ .period | default 1 }}
  timeoutSeconds: 5
  failureThreshold: {{ .failures | default 120 }}
readinessProbe:
  httpGet: {path: {{ .ready }}, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: {{ .alive }}, port: {{ .port }}}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}

{{/* What leaves the cluster is told from the rest by its port alone. */}}
{{- define "monitoring.outside" -}}
{{- with .Values.networkPolicy.egressPorts }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- end }}

{{/* To a part of this chart: (dict "root" $ "part" "alertmanager" "port" 9093). */}}
{{- define "monitoring.toPart" -}}
{{- $it := dict "root" .root "part" .part "values" dict -}}
{{- include "monitoring.part" $it -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "common.selector" $it | nindent 10 }}
  ports:
    - {port: {{ .port }}, protocol: TCP}
{{- end }}

{{- define "monitoring.validate" -}}
{{- $receivers := .Values.alertmanager.receivers }}
{{- if and $receivers.slack.enabled (not (or $receivers.slack.existingSecret $receivers.slack.url)) }}
{{- fail "alertmanager.receivers.slack.existingSecret: name the Secret with the webhook's address in the key url." }}
{{- end }}
{{- if and $receivers.slack.existingSecret $receivers.slack.url }}
{{- fail "alertmanager.receivers.slack: give existingSecret or url, not both." }}
{{- end }}
{{- if and $receivers.webhook.enabled (not $receivers.webhook.url) }}
{{- fail "alertmanager.receivers.webhook.url: give the address that alerts go to." }}
{{- end }}
{{- if and $receivers.line.enabled (not $receivers.line.existingSecret) }}
{{- fail "alertmanager.receivers.line.existingSecret: name the Secret with the keys channel-access-token and to." }}
{{- end }}
{{- if and .Values.grafana.mysql.host (not .Values.grafana.mysql.existingSecret) }}
{{- fail "grafana.mysql.existingSecret: name the Secret with the password of grafana.mysql.user." }}
{{- end }}
{{- if and .Values.kafkaUi.enabled (not .Values.kafkaUi.bootstrapServers) }}
{{- fail "kafkaUi.bootstrapServers: name Kafka's brokers as host:port." }}
{{- end }}
{{- if and .Values.grafana.enabled (not .Values.prometheus.enabled) (not .Values.grafana.prometheusUrl) }}
{{- fail "grafana.prometheusUrl: name the Prometheus that Grafana asks, or set prometheus.enabled or grafana.enabled: false." }}
{{- end }}
{{- end }}
