{{/* The first servers, at most three, are the quorum that holds the cluster's metadata. */}}
{{- define "kafka.controllers" -}}
{{- min 3 (int .Values.replicas) }}
{{- end }}

{{- define "kafka.domain" -}}
{{- printf "%s-headless.%s.svc" (include "common.fullname" (dict "root" .)) .Release.Namespace }}
{{- end }}

{{- define "kafka.bootstrap" -}}
{{- printf "%s.%s.svc:9092" (include "common.fullname" (dict "root" .)) .Release.Namespace }}
{{- end }}

{{/*
A UUID of 16 bytes as Kafka writes it. It follows from the names, so that volumes that outlived a release, or that a server
joins later, belong to the same cluster whoever renders the chart.
*/}}
{{- define "kafka.clusterId" -}}
{{- $names := printf "%s/%s" .Release.Namespace (include "common.fullname" (dict "root" .)) -}}
{{- .Values.clusterId | default ($names | sha256sum | trunc 16 | b64enc | trunc 22) }}
{{- end }}

{{- define "kafka.protocol" -}}
{{- ternary "SASL_" "" .Values.auth.enabled }}{{ ternary "SSL" "PLAINTEXT" .Values.tls.enabled }}
{{- end }}

{{- define "kafka.password" -}}
valueFrom:
  secretKeyRef:
    name: {{ include "common.secretName" (dict "root" .) }}
    key: password
{{- end }}

{{- define "kafka.configuration" -}}
{{- $fullname := include "common.fullname" (dict "root" .) -}}
{{- $copies := include "kafka.controllers" . | int -}}
{{- $needed := ternary 1 2 (eq $copies 1) -}}
{{- $voters := list -}}
{{- range $ordinal := until $copies -}}
{{- $voters = append $voters (printf "%d@%s-%d.%s:9093" $ordinal $fullname $ordinal (include "kafka.domain" $)) -}}
{{- end -}}
controller.quorum.voters={{ join "," $voters }}
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
listener.security.protocol.map=CLIENT:{{ include "kafka.protocol" . }},CONTROLLER:{{ ternary "SSL" "PLAINTEXT" .Values.tls.enabled }}
log.dirs=/var/lib/kafka/data/log
auto.create.topics.enable={{ .Values.autoCreateTopics }}
num.partitions={{ .Values.partitions }}
default.replication.factor={{ $copies }}
min.insync.replicas={{ $needed }}
offsets.topic.replication.factor={{ $copies }}
transaction.state.log.replication.factor={{ $copies }}
transaction.state.log.min.isr={{ $needed }}
share.coordinator.state.topic.replication.factor={{ $copies }}
share.coordinator.state.topic.min.isr={{ $needed }}
# Its default takes half of a small heap; this much cleans some million keys at a time.
log.cleaner.dedupe.buffer.size=33554432
log.retention.hours={{ .Values.retention.hours }}
log.retention.bytes={{ .Values.retention.bytes | int64 }}
{{- if .Values.auth.enabled }}
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
{{- end }}
{{- if .Values.tls.enabled }}
ssl.keystore.type=PEM
ssl.keystore.location=/tmp/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=/etc/kafka-tls/ca.crt
{{- end }}
{{- with .Values.extraConfiguration }}
{{ . | trim }}
{{- end }}
{{- end }}

{{/* What the image's own settings lack: they write files beside the console. */}}
{{- define "kafka.logging" -}}
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
{{- end }}

{{/* The password is in no argument, where others might see it, and in no file that outlives the container. */}}
{{- define "kafka.start" -}}
umask 077
ordinal=${HOSTNAME##*-}
{
  cat /etc/kafka-server/server.properties
  echo
  echo "node.id=$ordinal"
  echo "advertised.listeners=CLIENT://$HOSTNAME.{{ include "kafka.domain" . }}:9092"
  if [ "$ordinal" -lt {{ include "kafka.controllers" . }} ]; then
    echo 'process.roles=broker,controller'
    echo 'listeners=CLIENT://:9092,CONTROLLER://:9093'
  else
    echo 'process.roles=broker'
    echo 'listeners=CLIENT://:9092'
  fi
  {{- if .Values.auth.enabled }}
  case "$KAFKA_PASSWORD" in
    ''|*[!A-Za-z0-9._~-]*) echo "The Secret's password: use letters, digits and . _ ~ - alone." >&2; exit 1;;
  esac
  echo "listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required\
  username=\"presage\" password=\"$KAFKA_PASSWORD\" user_presage=\"$KAFKA_PASSWORD\";"
  {{- end }}
} > /tmp/server.properties
{{- if .Values.tls.enabled }}
grep -q 'BEGIN PRIVATE KEY' /etc/kafka-tls/tls.key || {
  echo 'tls.key is not in PKCS #8, as Kafka wants it: set `privateKey.encoding: PKCS8` in the Certificate.' >&2
  exit 1
}
cat /etc/kafka-tls/tls.key /etc/kafka-tls/tls.crt > /tmp/keystore.pem
{{- end }}
[ -e /var/lib/kafka/data/log/meta.properties ] ||
  /opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t {{ include "kafka.clusterId" . }} -c /tmp/server.properties
exec /opt/kafka/bin/kafka-server-start.sh /tmp/server.properties
{{- end }}

{{/* How the image's own clients reach the servers. */}}
{{- define "kafka.client" -}}
umask 077
{
  echo security.protocol={{ include "kafka.protocol" . }}
  {{- if .Values.tls.enabled }}
  echo ssl.truststore.type=PEM
  echo ssl.truststore.location=/etc/kafka-tls/ca.crt
  {{- end }}
  {{- if .Values.auth.enabled }}
  echo sasl.mechanism=PLAIN
  echo "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required\
  username=\"presage\" password=\"$KAFKA_PASSWORD\";"
  {{- end }}
} > /tmp/client.properties
server={{ include "kafka.bootstrap" . }}
topics() { /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$server" --command-config /tmp/client.properties "$@"; }
{{- end }}

{{- define "kafka.clientEnv" -}}
- {name: KAFKA_HEAP_OPTS, value: -Xmx96m}
- {name: LOG_DIR, value: /tmp/logs}
{{- if .Values.auth.enabled }}
- name: KAFKA_PASSWORD
  {{- include "kafka.password" . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kafka.setup" -}}
{{ include "kafka.client" . }}
topic() {
  local name=$1 partitions=$2 copies=$3 configuration=$4 held
  topics --create --if-not-exists --topic "$name" --partitions "$partitions" --replication-factor "$copies"
  held=$(topics --describe --topic "$name" | sed -n 's/.*PartitionCount: *\([0-9]*\).*/\1/p')
  if [ "$held" -gt "$partitions" ]; then
    echo "$name has $held partitions: they cannot become $partitions. Say $held, or make another topic." >&2
    exit 1
  elif [ "$held" -lt "$partitions" ]; then
    topics --alter --topic "$name" --partitions "$partitions"
  fi
  [ -z "$configuration" ] || /opt/kafka/bin/kafka-configs.sh --bootstrap-server "$server" \
    --command-config /tmp/client.properties --alter --entity-type topics --entity-name "$name" --add-config "$configuration"
}
{{- range .Values.topics }}
{{- $configuration := list }}
{{- range $key, $value := .config }}
{{- $configuration = append $configuration (printf "%s=[%s]" $key (kindIs "string" $value | ternary $value (toJson $value))) }}
{{- end }}
topic {{ .name }} {{ .partitions | default $.Values.partitions }} {{ .replicationFactor | default (include "kafka.controllers" $) }} '{{ join "," $configuration }}'
{{- end }}
{{- end }}

{{- define "kafka.validate" -}}
{{- $replicas := int .Values.replicas }}
{{- if eq $replicas 2 }}
{{- fail "replicas: two servers are no safer than one, for both would be needed; set 1, or 3 and more." }}
{{- end }}
{{- if and .Values.tls.enabled (not .Values.tls.existingSecret) }}
{{- fail "tls.existingSecret: name the Secret with tls.crt, tls.key and ca.crt, or set tls.enabled: false." }}
{{- end }}
{{- if and (gt $replicas 1) .Values.persistence.existingClaim }}
{{- fail "persistence.existingClaim: one claim is for one server; set replicas: 1, or leave the claims to the chart." }}
{{- end }}
{{- range .Values.topics }}
{{- if gt (int .replicationFactor) $replicas }}
{{- fail (printf "topics: %s wants %d copies of %d servers; set replicationFactor or replicas." .name (int .replicationFactor) $replicas) }}
{{- end }}
{{- end }}
{{- $held := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "common.fullname" (dict "root" .)) }}
{{- if $held }}
{{- $controllers := min 3 (int $held.spec.replicas) }}
{{- if and (gt $controllers 0) (ne $controllers (include "kafka.controllers" . | int)) }}
{{- fail (printf "replicas: the quorum of %d that holds this cluster's metadata cannot change; install another release and copy the topics." $controllers) }}
{{- end }}
{{- end }}
{{- end }}
