#!/bin/bash
# Starts the program of Kafka that the script's name says; Kafka's own script of this name takes the class as its first argument.
set -euo pipefail

logging=tools-log4j2
heap=-Xmx256M
case ${0##*/} in
  kafka-server-start.sh)
    class=kafka.Kafka
    logging=log4j2
    heap="-Xmx1G -Xms1G"
    ;;
  kafka-storage.sh) class=kafka.tools.StorageTool ;;
  kafka-topics.sh) class=org.apache.kafka.tools.TopicCommand ;;
  kafka-configs.sh) class=kafka.admin.ConfigCommand ;;
  kafka-console-producer.sh) class=org.apache.kafka.tools.ConsoleProducer ;;
  kafka-console-consumer.sh) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
  kafka-consumer-groups.sh) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
  kafka-broker-api-versions.sh) class=org.apache.kafka.tools.BrokerApiVersionsCommand ;;
  kafka-metadata-quorum.sh) class=org.apache.kafka.tools.MetadataQuorumCommand ;;
  kafka-get-offsets.sh) class=org.apache.kafka.tools.GetOffsetShell ;;
  kafka-acls.sh) class=org.apache.kafka.tools.AclCommand ;;
  *)
    class=${1:?a class}
    shift
    ;;
esac
logging=-Dlog4j2.configurationFile=/opt/kafka/config/$logging.properties
# Options are several words each.
# shellcheck disable=SC2086
exec java ${KAFKA_HEAP_OPTS:-$heap} ${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC} ${KAFKA_JMX_OPTS:-} \
  ${KAFKA_LOG4J_OPTS:-$logging} -cp "/opt/kafka/libs/*" ${KAFKA_OPTS:-} "$class" "$@"
