// Binary is a service as its users build it: with a server on disk, over TCP and with an API. TestBinaryStandsAlone lists its packages.
package main

import (
	_ "github.com/singledecree/paxos"
	_ "github.com/singledecree/paxos/node"
	_ "github.com/singledecree/paxos/paxoshttp"
	_ "github.com/singledecree/paxos/tcp"
	_ "github.com/singledecree/paxos/wal"
)

func main() {}
