// Package deploytest tests the files of the folder deploy. It parses them with the types and parsers of Kubernetes, Compose, systemd and
// Prometheus. It runs servers with the command lines in them and in docs/operations.md, and the engine of Prometheus with the alerts. It is a module of its own, so that no user of the library has
// those parsers among the modules that it needs.
package deploytest
