{{/* Ports: (list (dict "name" "redis" "port" 6379)). */}}
{{- define "common.service" -}}
{{- $values := .values | default .root.Values -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "common.metadata" (merge (dict "annotations" $values.service.annotations) .) | nindent 2 }}
    {{- if .headless }}
    presage.dev/headless: "true"
    {{- end }}
spec:
  {{- if .headless }}
  clusterIP: None
  publishNotReadyAddresses: true
  {{- else }}
  type: {{ $values.service.type }}
  {{- end }}
  selector:
    {{- include "common.selector" . | nindent 4 }}
  ports:
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      protocol: TCP
    {{- end }}
{{- end }}

{{/*
Nothing reaches the Pods but what is named, and they reach nothing but names, each other and what `egress` says. Of other
namespaces, the named ones may come in whole; where none is named, the Pods of jobs and of Presage's own programs may.
*/}}
{{- define "common.networkPolicy" -}}
{{- $values := .values | default .root.Values -}}
{{- $policy := $values.networkPolicy | default .root.Values.networkPolicy -}}
{{- if $policy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "common.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector: {}
        {{- range $policy.allowedNamespaces }}
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ . }}
        {{- else }}
        - namespaceSelector: {}
          podSelector:
            matchExpressions:
              - key: presage.dev/job
                operator: Exists
        - namespaceSelector: {}
          podSelector:
            matchLabels:
              app.kubernetes.io/part-of: presage
        {{- end }}
      ports:
        {{- range .ports }}
        - port: {{ .name }}
          protocol: TCP
        {{- end }}
    {{- with .peers }}
    - from:
        - podSelector:
            matchLabels:
              {{- include "common.selector" $ | nindent 14 }}
      ports:
        {{- range . }}
        - port: {{ .name }}
          protocol: TCP
        {{- end }}
    {{- end }}
  egress:
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    - to:
        - podSelector:
            matchLabels:
              {{- include "common.selector" . | nindent 14 }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- if not .part }}
---
# Pods that set up and that test reach the chart's others, and nothing reaches them.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "common.metadata" (merge (dict "suffix" "-helpers") .) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "common.instance" . | nindent 6 }}
    matchExpressions:
      - key: app.kubernetes.io/component
        operator: In
        values: [setup, test]
  policyTypes: [Ingress, Egress]
  egress:
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    - to:
        - podSelector:
            matchLabels:
              {{- include "common.instance" . | nindent 14 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "common.disruptionBudget" -}}
{{- if gt (int .replicas) 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "common.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "common.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{- define "common.serviceMonitor" -}}
{{- $values := .values | default .root.Values -}}
{{- if and $values.metrics.enabled $values.metrics.serviceMonitor.enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "common.metadata" . | nindent 2 }}
    {{- with $values.metrics.serviceMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # Else it would be the Service's name, which rules do not know.
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      {{- include "common.selector" . | nindent 6 }}
    matchExpressions:
      - key: presage.dev/headless
        operator: DoesNotExist
  namespaceSelector:
    matchNames: [{{ .root.Release.Namespace }}]
  endpoints:
    - port: {{ .port }}
      path: {{ .path | default "/metrics" }}
      interval: {{ $values.metrics.serviceMonitor.interval }}
      {{- with .endpoint }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}
{{- end }}
