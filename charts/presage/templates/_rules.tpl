{{/* What the operator may do with the objects of a namespace, and nothing else. */}}
{{- define "presage.rules" -}}
# patch: the finalizer of jobs with pipeline runs; nothing else of a job is written.
- apiGroups: [presage.dev]
  resources: [predictionjobs]
  verbs: [list, watch, patch]
- apiGroups: [presage.dev]
  resources: [predictionjobs/status]
  verbs: [patch]
# Clusters that guard owner references ask for this before a child may hold up its job's deletion.
- apiGroups: [presage.dev]
  resources: [predictionjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
# How runs end: exit codes and termination messages, which carry the last lines of the log.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Never changed nor deleted: a claim is made before a run, and goes with its job by its owner reference, or stays.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* Whom the rules are for. */}}
{{- define "presage.subjects" -}}
- kind: ServiceAccount
  name: {{ include "presage.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
