{{- define "monitoring.alertmanager" -}}
{{- $values := .Values.alertmanager -}}
{{- $receivers := $values.receivers -}}
{{- if $values.configuration }}
{{- toYaml $values.configuration }}
{{- else -}}
templates: [/etc/alertmanager/*.tmpl]
route:
  receiver: everyone
  group_by: {{ toJson $values.route.groupBy }}
  group_wait: {{ $values.route.groupWait }}
  group_interval: {{ $values.route.groupInterval }}
  repeat_interval: {{ $values.route.repeatInterval }}
  routes:
    - matchers: ['severity="page"']
      repeat_interval: {{ $values.route.repeatIntervalPage }}
# Who is told at once need not be told of the same as a ticket.
inhibit_rules:
  - source_matchers: ['severity="page"']
    target_matchers: ['severity="ticket"']
    equal: [alertname, namespace, prediction_job]
receivers:
  - name: everyone
    {{- if $receivers.slack.enabled }}
    slack_configs:
      {{- if $receivers.slack.url }}
      - api_url: {{ $receivers.slack.url | quote }}
      {{- else }}
      - api_url_file: /etc/alertmanager-slack/url
      {{- end }}
        {{- with $receivers.slack.channel }}
        channel: {{ . | quote }}
        {{- end }}
        send_resolved: true
        title: {{ `'{{ template "presage.title" . }}'` }}
        text: {{ `'{{ template "presage.text" . }}'` }}
        fallback: {{ `'{{ template "presage.title" . }}'` }}
    {{- end }}
    {{- if or $receivers.webhook.enabled $receivers.line.enabled }}
    webhook_configs:
      {{- if $receivers.webhook.enabled }}
      - url: {{ $receivers.webhook.url | quote }}
        send_resolved: true
        {{- if $receivers.webhook.existingSecret }}
        http_config:
          authorization: {credentials_file: /etc/alertmanager-webhook/token}
        {{- end }}
      {{- end }}
      {{- if $receivers.line.enabled }}
      - url: http://{{ include "monitoring.address" (dict "root" $ "part" "line-relay" "port" 9096) }}/alerts
        send_resolved: true
        # What is more would not be read in a chat.
        max_alerts: 50
      {{- end }}
    {{- end }}
{{- end }}
{{- end }}
