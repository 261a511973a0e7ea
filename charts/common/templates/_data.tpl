{{/* What is below `volumeClaimTemplates`; its labels are those that never change, for it cannot be changed. */}}
{{- define "common.claim" -}}
{{- $values := .values | default .root.Values -}}
{{- $global := .root.Values.global | default dict -}}
{{- if and $values.persistence.enabled (not $values.persistence.existingClaim) -}}
- metadata:
    name: {{ .name | default "data" }}
    labels:
      {{- include "common.selector" . | nindent 6 }}
    {{- with $values.persistence.annotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    accessModes: {{ toJson $values.persistence.accessModes }}
    {{- with $values.persistence.storageClassName | default $global.storageClassName }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $values.persistence.size }}
{{- end }}
{{- end }}

{{- define "common.claimVolume" -}}
{{- $values := .values | default .root.Values -}}
{{- if not $values.persistence.enabled -}}
- name: {{ .name | default "data" }}
  emptyDir: {}
{{- else if $values.persistence.existingClaim -}}
- name: {{ .name | default "data" }}
  persistentVolumeClaim:
    claimName: {{ $values.persistence.existingClaim }}
{{- end }}
{{- end }}

{{- define "common.secretName" -}}
{{- $values := .values | default .root.Values -}}
{{- $values.auth.existingSecret | default (include "common.fullname" .) }}
{{- end }}

{{/*
What the cluster's Secret holds stays; what it lacks of `keys` is drawn, once for all templates of a rendering. With
`auth.existingSecret` it is what that Secret holds.
*/}}
{{- define "common.secretData" -}}
{{- $values := .values | default .root.Values -}}
{{- $name := include "common.secretName" . -}}
{{- $held := (lookup "v1" "Secret" .root.Release.Namespace $name).data | default dict -}}
{{- if $values.auth.existingSecret -}}
{{- toJson $held -}}
{{- else -}}
{{- $drawn := .root.Values.drawn | default dict -}}
{{- $data := index $drawn $name | default dict -}}
{{- range .keys -}}
{{- if not (hasKey $data .) -}}
{{- $_ := set $data . (index $held . | default (randAlphaNum 32 | b64enc)) -}}
{{- end -}}
{{- end -}}
{{- $_ := set .root.Values "drawn" (set $drawn $name $data) -}}
{{- toJson $data -}}
{{- end -}}
{{- end }}

{{/* The Secret outlives the release, as the data do that it opens. */}}
{{- define "common.secret" -}}
{{- $values := .values | default .root.Values -}}
{{- if not $values.auth.existingSecret }}
apiVersion: v1
kind: Secret
metadata:
  {{- include "common.metadata" (merge (dict "annotations" (dict "helm.sh/resource-policy" "keep")) .) | nindent 2 }}
type: Opaque
data:
  {{- include "common.secretData" . | fromJson | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{/* Other content of the cluster's Secret, after a rotation, makes other Pods at the next upgrade. */}}
{{- define "common.secretChecksum" -}}
{{- include "common.secretData" . | sha256sum }}
{{- end }}
