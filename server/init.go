package server

import "github.com/264bc8cf/epaxos/internal/bootstrap"

// Init makes the directory of a new cluster, as `epaxos init` does, with one replica for each
// address (host:port), and returns the configuration file of each, for Load. The directory must not
// exist, or be empty. With an error nothing was made.
func Init(dir string, addrs ...string) (configs []string, err error) {
	layout, err := bootstrap.Init(bootstrap.Options{Dir: dir, Addrs: addrs})
	return layout.Configs, err
}
