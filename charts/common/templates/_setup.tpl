{{/*
A Job that cannot be changed: its name follows from its whole Pod and from what that reads, so that other content is another
Job. Of a map with `pod`, the Pod's template, and `held`, a text that changes with the Secrets.
*/}}
{{- define "common.setup" -}}
{{- $hash := list .pod .held | toJson | sha256sum | trunc 8 -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "common.metadata" (merge (dict "part" "setup" "suffix" (printf "-%s" $hash)) .) | nindent 2 }}
spec:
  backoffLimit: 20
  template:
    {{- .pod | nindent 4 }}
{{- end }}
