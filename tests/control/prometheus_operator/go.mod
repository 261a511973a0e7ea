module presage.dev/tests/control/prometheus_operator

go 1.26.0

// Its archive holds the custom resource definitions.
require github.com/prometheus-operator/prometheus-operator v0.85.0
