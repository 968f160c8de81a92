// Command epaxos runs replicas of a leaderless key-value service and talks to them. It parses and
// delegates: server runs a replica, clients is the client, internal/bootstrap makes a cluster.
package main

import (
	"context"
	"io"
	"os"
	"time"
)

func main() {
	os.Exit(run(context.Background(), system(), os.Args[1:]))
}

// shell is what a command sees of the process that it runs in.
type shell struct {
	in       io.Reader
	out, err io.Writer
	env      func(name string) (value string, found bool)
	child    io.Reader     // input of programs that a command of a dialogue starts; nil is none
	held     *held         // what the commands of a dialogue share; nil outside of one
	patience time.Duration // of one who has pressed Tab
}

// childIn is the input of a program that a command starts. In a dialogue the lines that follow are for the dialogue.
func (sh *shell) childIn() io.Reader {
	if sh.held == nil {
		return sh.in
	}
	return sh.child
}

func system() *shell {
	return &shell{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv, patience: time.Second}
}
