{{/* Rule files by their names: the chart's and the user's. */}}
{{- define "monitoring.ruleFiles" -}}
{{- $files := dict }}
{{- range $path, $_ := .Files.Glob "files/rules/*.yaml" }}
{{- $_ := set $files (base $path) ($.Files.Get $path) }}
{{- end }}
{{- range $name, $content := .Values.prometheus.extraRules }}
{{- $_ := set $files (printf "%s.yaml" (trimSuffix ".yaml" $name)) (toYaml $content) }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{/* How Pods are found, by the API server. */}}
{{- define "monitoring.pods" -}}
kubernetes_sd_configs:
  - role: pod
    {{- with include "monitoring.namespaces" . }}
    namespaces: {names: {{ . }}}
    {{- end }}
{{- end }}

{{/* Every series tells whose Pod it is of. */}}
{{- define "monitoring.podLabels" -}}
- {source_labels: [__meta_kubernetes_pod_phase], regex: Succeeded|Failed, action: drop}
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
{{- end }}

{{/* The job is the chart's name, such as redis; of this chart's Pods, which are of several programs, the part's. */}}
{{- define "monitoring.programLabels" -}}
- {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], target_label: job}
- source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_label_app_kubernetes_io_component]
  regex: {{ include "common.name" (dict "root" .) }};(.+)
  target_label: job
{{- end }}

{{- define "monitoring.prometheus" -}}
{{- $values := .Values.prometheus -}}
global:
  scrape_interval: {{ $values.scrapeInterval }}
  evaluation_interval: {{ $values.evaluationInterval }}
  {{- with $values.externalLabels }}
  external_labels:
    {{- toYaml . | nindent 4 }}
  {{- end }}
rule_files: [/etc/prometheus/rules/*.yaml]
{{- if .Values.alertmanager.enabled }}
alerting:
  alertmanagers:
    - static_configs:
        - targets: [{{ include "monitoring.address" (dict "root" $ "part" "alertmanager" "port" 9093) | quote }}]
{{- end }}
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: [localhost:9090]
        labels: {namespace: {{ .Release.Namespace }}}
  {{- if .Values.alertmanager.enabled }}
  - job_name: alertmanager
    static_configs:
      - targets: [{{ include "monitoring.address" (dict "root" $ "part" "alertmanager" "port" 9093) | quote }}]
        labels: {namespace: {{ .Release.Namespace }}}
  {{- end }}
  {{- if .Values.pushgateway.enabled }}
  - job_name: pushgateway
    # What runs push says itself which job and namespace it is of.
    honor_labels: true
    static_configs:
      - targets: [{{ include "monitoring.address" (dict "root" $ "part" "pushgateway" "port" 9091) | quote }}]
        labels: {namespace: {{ .Release.Namespace }}}
  {{- end }}
  # Every program of the platform that has a port named `metrics`.
  - job_name: platform
    {{- include "monitoring.pods" . | nindent 4 }}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_part_of, __meta_kubernetes_pod_container_port_name]
        regex: presage;metrics
        action: keep
      {{- include "monitoring.podLabels" . | nindent 6 }}
      {{- include "monitoring.programLabels" . | nindent 6 }}
  # Those whose annotations tell where their metrics are, as MinIO's do.
  - job_name: annotated
    {{- include "monitoring.pods" . | nindent 4 }}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_part_of, __meta_kubernetes_pod_annotation_prometheus_io_scrape]
        regex: presage;true
        action: keep
      - source_labels: [__meta_kubernetes_pod_ip, __meta_kubernetes_pod_annotation_prometheus_io_port]
        regex: (.+);([0-9]+)
        replacement: $1:$2
        target_label: __address__
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], regex: "(/.+)", target_label: __metrics_path__}
      - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scheme], regex: "(https?)", target_label: __scheme__}
      {{- include "monitoring.podLabels" . | nindent 6 }}
      {{- include "monitoring.programLabels" . | nindent 6 }}
    # A certificate names the Service, and Pods are scraped by their addresses.
    tls_config: {insecure_skip_verify: true}
  - job_name: operator
    {{- include "monitoring.pods" . | nindent 4 }}
    relabel_configs:
      - source_labels:
          - __meta_kubernetes_pod_label_app_kubernetes_io_name
          - __meta_kubernetes_pod_label_app_kubernetes_io_component
          - __meta_kubernetes_pod_container_port_name
        regex: presage;operator;http
        action: keep
      {{- include "monitoring.podLabels" . | nindent 6 }}
  # Inference servers that the operator or KServe made; KServe's have no name for the port.
  - job_name: server
    {{- include "monitoring.pods" . | nindent 4 }}
    relabel_configs:
      - source_labels:
          - __meta_kubernetes_pod_label_app_kubernetes_io_managed_by
          - __meta_kubernetes_pod_label_app_kubernetes_io_component
          - __meta_kubernetes_pod_container_port_number
        regex: presage-operator;server;8080
        action: keep
      {{- include "monitoring.podLabels" . | nindent 6 }}
      - {source_labels: [__meta_kubernetes_pod_label_presage_dev_job], target_label: prediction_job}
  {{- with $values.extraScrapeConfigs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
