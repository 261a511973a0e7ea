{{/* The Pod that makes what `databases` names. */}}
{{- define "clickhouse.setupPod" -}}
{{- $it := dict "root" . "part" "setup" -}}
metadata:
  {{- include "common.podMetadata" $it | nindent 2 }}
spec:
  {{- include "common.pod" $it | nindent 2 }}
  restartPolicy: OnFailure
  initContainers:
    {{- include "common.wait" (dict "root" . "host" (include "common.fullname" (dict "root" .)) "port" (ternary 9440 9000 .Values.tls.enabled)) | nindent 4 }}
  containers:
    - name: setup
      {{- include "common.container" $it | nindent 6 }}
      command: [bash, -ec]
      args:
        - |
          {{- include "clickhouse.setup" . | trim | nindent 10 }}
      env:
        {{- include "clickhouse.clientEnv" . | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 512Mi}
      volumeMounts:
        {{- with include "clickhouse.clientMounts" . }}
        {{- . | trim | nindent 8 }}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- with include "clickhouse.clientVolumes" . }}
    {{- . | trim | nindent 4 }}
    {{- end }}
    - name: tmp
      emptyDir: {}
{{- end }}
