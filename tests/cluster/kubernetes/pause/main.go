// Command pause holds the namespaces that the containers of one Pod share. It is the Pod's first process,
// so it also collects the children that others leave behind.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for ended, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); ended > 0 && err == nil; {
			ended, err = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
}
