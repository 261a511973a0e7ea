{{/* An image's reference. A registry for all of them, as sites without a way out have one, takes the place of its own. */}}
{{- define "common.image" -}}
{{- $global := .root.Values.global | default dict -}}
{{- $name := .image.repository -}}
{{- with $global.imageRegistry | default .image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else }}
{{- printf "%s:%s" $name .image.tag }}
{{- end }}
{{- end }}

{{- define "common.podMetadata" -}}
{{- $values := .values | default .root.Values -}}
{{- $checksums := .checksums | default dict -}}
labels:
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  app.kubernetes.io/part-of: presage
  {{- include "common.selector" . | nindent 2 }}
{{- with merge (deepCopy $values.podAnnotations) $checksums }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "common.pod" -}}
{{- $values := .values | default .root.Values -}}
{{- $global := .root.Values.global | default dict -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with concat ($global.imagePullSecrets | default list) (.root.Values.imagePullSecrets | default list) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml $values.podSecurityContext | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: {{ $values.topologySpread }}
    labelSelector:
      matchLabels:
        {{- include "common.selector" . | nindent 8 }}
{{- end }}

{{- define "common.container" -}}
{{- $values := .values | default .root.Values -}}
{{- $image := .image | default $values.image -}}
image: {{ include "common.image" (dict "root" .root "image" $image) }}
imagePullPolicy: {{ $image.pullPolicy }}
securityContext:
  {{- toYaml $values.securityContext | nindent 2 }}
{{- end }}

{{- define "common.mounts" -}}
{{- $values := .values | default .root.Values -}}
- name: tmp
  mountPath: /tmp
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "common.volumes" -}}
{{- $values := .values | default .root.Values -}}
- name: tmp
  emptyDir: {}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Ends when a port answers: nothing that needs it starts before. The image has bash. */}}
{{- define "common.wait" -}}
- name: wait-for-{{ .port }}
  {{- include "common.container" . | nindent 2 }}
  command: [bash, -c]
  args:
    - until timeout 2 bash -c '</dev/tcp/{{ .host }}/{{ .port }}' 2>/dev/null; do echo "{{ .host }}:{{ .port }} does not answer yet"; sleep 1; done
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 32Mi}
{{- end }}

{{/* The Pod of `helm test`: a script with the chart's own image. */}}
{{- define "common.test" -}}
{{- $values := .values | default .root.Values -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "common.fullname" . }}-test
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "common.labels" (dict "root" .root "part" "test") | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 180
  {{- include "common.pod" . | nindent 2 }}
  containers:
    - name: test
      {{- include "common.container" . | nindent 6 }}
      command: {{ .command | default (list "sh" "-ec") | toJson }}
      args:
        - |
          {{- .script | nindent 10 }}
      {{- with .env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: {{ .memory | default "256Mi" }}}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with .mounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with .volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
