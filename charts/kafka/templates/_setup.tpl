{{/* The Pod that makes what `topics` names. */}}
{{- define "kafka.setupPod" -}}
{{- $it := dict "root" . "part" "setup" -}}
metadata:
  {{- include "common.podMetadata" $it | nindent 2 }}
spec:
  {{- include "common.pod" $it | nindent 2 }}
  restartPolicy: OnFailure
  initContainers:
    {{- include "common.wait" (dict "root" . "host" (include "common.fullname" (dict "root" .)) "port" 9092) | nindent 4 }}
  containers:
    - name: setup
      {{- include "common.container" $it | nindent 6 }}
      command: [bash, -eo, pipefail, -c]
      args:
        - |
          {{- include "kafka.setup" . | nindent 10 }}
      env:
        {{- include "kafka.clientEnv" . | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 384Mi}
      volumeMounts:
        {{- if .Values.tls.enabled }}
        - {name: tls, mountPath: /etc/kafka-tls, readOnly: true}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- if .Values.tls.enabled }}
    - name: tls
      secret:
        secretName: {{ .Values.tls.existingSecret }}
        defaultMode: 0440
    {{- end }}
    - name: tmp
      emptyDir: {}
{{- end }}
