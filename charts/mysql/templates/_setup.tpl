{{/* The Pod that makes databases and users, and gives users the passwords of their Secrets. */}}
{{- define "mysql.setup" -}}
{{- $it := dict "root" . "part" "setup" -}}
{{- $accounts := include "mysql.accounts" . | fromYamlArray -}}
metadata:
  {{- include "common.podMetadata" $it | nindent 2 }}
spec:
  {{- include "common.pod" $it | nindent 2 }}
  restartPolicy: OnFailure
  initContainers:
    {{- include "common.wait" (dict "root" . "host" (include "common.fullname" (dict "root" .)) "port" 3306) | nindent 4 }}
  containers:
    - name: setup
      {{- include "common.container" $it | nindent 6 }}
      command: [bash, -ec]
      # Passwords reach the server through the input, for arguments might be seen.
      args:
        - |
          {{- include "mysql.client" . | nindent 10 }}
          text() { local it=${1//\\/\\\\}; printf "'%s'" "${it//\'/\\\'}"; }
          client --user=root <<SQL
          {{- range .Values.databases }}
          CREATE DATABASE IF NOT EXISTS \`{{ .name }}\`;
          {{- end }}
          {{- range $place, $account := $accounts }}
          CREATE USER IF NOT EXISTS '{{ .user }}'@'%' IDENTIFIED BY $(text "$PASSWORD_{{ $place }}");
          ALTER USER '{{ .user }}'@'%' IDENTIFIED BY $(text "$PASSWORD_{{ $place }}");
          {{- range .grants }}
          GRANT {{ . | replace "\\" "\\\\" | replace "`" "\\`" }} TO '{{ $account.user }}'@'%';
          {{- end }}
          {{- end }}
          SQL
          echo "databases and users are as they should be"
      env:
        - name: MYSQL_PWD
          {{- include "mysql.rootPassword" . | nindent 10 }}
        {{- range $place, $account := $accounts }}
        - name: PASSWORD_{{ $place }}
          valueFrom:
            secretKeyRef:
              name: {{ .secret }}
              key: {{ .key }}
        {{- end }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .Values.tls.enabled }}
        - {name: tls, mountPath: /etc/mysql-tls, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if .Values.tls.enabled }}
    - {{- include "mysql.authority" . | nindent 6 }}
    {{- end }}
{{- end }}
