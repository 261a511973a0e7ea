{{- define "minio.scheme" -}}
{{ ternary "https" "http" .Values.tls.enabled }}
{{- end }}

{{/* What a server keeps objects on: a volume of its own, or those of all servers together. */}}
{{- define "minio.drives" -}}
{{- $name := include "common.fullname" (dict "root" .) -}}
{{- $servers := printf "%s-{0...%d}.%s-headless.%s.svc" $name (sub .Values.replicas 1) $name .Release.Namespace -}}
{{- ternary "/data" (printf "%s://%s:9000/data" (include "minio.scheme" .) $servers) (eq (int .Values.replicas) 1) }}
{{- end }}

{{- define "minio.root" -}}
{{- $secret := include "common.secretName" (dict "root" .) -}}
- name: MINIO_ROOT_USER
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: root-user}}
- name: MINIO_ROOT_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: root-password}}
{{- end }}

{{- define "minio.rootChecksum" -}}
{{- include "common.secretChecksum" (dict "root" . "keys" (list "root-user" "root-password")) }}
{{- end }}

{{/* Environment of the client `mc`. */}}
{{- define "minio.client" -}}
{{ include "minio.root" . }}
# It keeps what it knows of the server there.
- {name: HOME, value: /tmp}
{{- if .Values.tls.enabled }}
- {name: SSL_CERT_FILE, value: /certs/CAs/ca.crt}
{{- end }}
{{- end }}

{{/* Waits for the server. Keys go to `mc` by its input: among its arguments others might see them. */}}
{{- define "minio.connect" -}}
until printf '%s\n%s\n' "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" |
  mc alias set store {{ include "minio.scheme" . }}://{{ include "common.fullname" (dict "root" .) }}:9000
do sleep 1; done
{{- end }}

{{- define "minio.certificates" -}}
- name: certificates
  secret:
    secretName: {{ .Values.tls.existingSecret }}
    defaultMode: 288
    items:
      - {key: tls.crt, path: public.crt}
      - {key: tls.key, path: private.key}
      - {key: ca.crt, path: CAs/ca.crt}
{{- end }}

{{/* It may run again at any time: it makes what is missing, and sets users' keys and rights to what is wanted now. */}}
{{- define "minio.setup" -}}
{{ include "minio.connect" . }}
{{- range .Values.buckets }}
mc mb --ignore-existing store/{{ .name }}
{{- if .versioning }}
mc version enable store/{{ .name }}
{{- end }}
{{- if .noncurrentVersionDays }}
mc ilm import store/{{ .name }} <<'END'
{{ include "minio.expiration" . }}
END
{{- end }}
{{- end }}
{{- range $index, $user := .Values.users }}
{{- $policy := printf "%s.%s" (tpl .existingSecret $) (include "minio.accessKeyKey" .) }}
cat > /tmp/policy.json <<'END'
{{ include "minio.policy" $user }}
END
mc admin policy create store {{ $policy }} /tmp/policy.json
printf '%s\n%s\n' "$USER_{{ $index }}_ACCESS_KEY" "$USER_{{ $index }}_SECRET_KEY" | mc admin user add store
mc admin policy attach store {{ $policy }} --user "$USER_{{ $index }}_ACCESS_KEY"
{{- end }}
{{- end }}

{{- define "minio.expiration" -}}
{{- $days := dict "NoncurrentDays" .noncurrentVersionDays -}}
{{- dict "Rules" (list (dict "ID" "noncurrent-versions" "Status" "Enabled" "NoncurrentVersionExpiration" $days)) | toJson }}
{{- end }}

{{- define "minio.accessKeyKey" -}}
{{ .accessKeyKey | default "AWS_ACCESS_KEY_ID" }}
{{- end }}

{{- define "minio.policy" -}}
{{- $buckets := list -}}
{{- $objects := list -}}
{{- range .buckets }}
{{- $buckets = append $buckets (printf "arn:aws:s3:::%s" .) }}
{{- $objects = append $objects (printf "arn:aws:s3:::%s/*" .) }}
{{- end }}
{{- $list := list "s3:GetBucketLocation" "s3:ListBucket" "s3:ListBucketMultipartUploads" }}
{{- $use := list "s3:GetObject" "s3:PutObject" "s3:DeleteObject" "s3:AbortMultipartUpload" "s3:ListMultipartUploadParts" }}
{{- $statements := list (dict "Effect" "Allow" "Action" $list "Resource" $buckets) }}
{{- $statements = append $statements (dict "Effect" "Allow" "Action" $use "Resource" $objects) }}
{{- dict "Version" "2012-10-17" "Statement" $statements | toJson }}
{{- end }}

{{/* Changes with the Secrets that the setup reads. */}}
{{- define "minio.setupSecrets" -}}
{{- $held := list (include "minio.rootChecksum" .) -}}
{{- range .Values.users }}
{{- $held = append $held ((lookup "v1" "Secret" $.Release.Namespace (tpl .existingSecret $)).data | default dict) }}
{{- end }}
{{- toJson $held }}
{{- end }}

{{- define "minio.setupPod" -}}
{{- $it := dict "root" $ "part" "setup" -}}
metadata:
  {{- include "common.podMetadata" $it | nindent 2 }}
spec:
  {{- include "common.pod" $it | nindent 2 }}
  restartPolicy: OnFailure
  containers:
    - name: setup
      {{- include "common.container" $it | nindent 6 }}
      command: [sh, -ec]
      args:
        - |
          {{- include "minio.setup" . | nindent 10 }}
      env:
        {{- include "minio.client" . | nindent 8 }}
        {{- range $index, $user := .Values.users }}
        {{- $name := tpl .existingSecret $ }}
        - name: USER_{{ $index }}_ACCESS_KEY
          valueFrom: {secretKeyRef: {name: {{ $name }}, key: {{ include "minio.accessKeyKey" . }}}}
        - name: USER_{{ $index }}_SECRET_KEY
          valueFrom: {secretKeyRef: {name: {{ $name }}, key: {{ .secretKeyKey | default "AWS_SECRET_ACCESS_KEY" }}}}
        {{- end }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 256Mi}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.tls.enabled }}
        - {name: certificates, mountPath: /certs, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if .Values.tls.enabled }}
    {{- include "minio.certificates" . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "minio.validate" -}}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) .Values.persistence.existingClaim }}
{{- fail "persistence.existingClaim: one claim is for one server; set replicas: 1, or leave the claims to the chart." }}
{{- end }}
{{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "common.fullname" (dict "root" .)) }}
{{- if and $there (ne (int $there.spec.replicas) (int .Values.replicas)) }}
{{- fail (printf "replicas: the data are laid out for %d servers; see README.md." (int $there.spec.replicas)) }}
{{- end }}
{{- $names := list }}
{{- range .Values.buckets }}
{{- $names = append $names .name }}
{{- if and .noncurrentVersionDays (not .versioning) }}
{{- fail (printf "buckets: %s has noncurrentVersionDays, but no older versions are kept; set versioning: true there." .name) }}
{{- end }}
{{- end }}
{{- range .Values.users }}
{{- range $bucket := .buckets }}
{{- if not (has $bucket $names) }}
{{- fail (printf "users: the bucket %s is not among `buckets` (%s); add it there." $bucket (join ", " $names)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
