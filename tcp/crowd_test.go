package tcp

// crowdAddr is the environment variable that makes this test binary a crowd of clients.
const crowdAddr = "PAXOS_TCP_CROWD"

func crowd(addr string) {}
