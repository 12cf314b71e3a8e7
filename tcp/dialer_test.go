package tcp

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos"
)

// answering is a listener that answers each hello with the same bytes, and then reads on.
func answering(n *pipes, name string, answer []byte) *pipeListener {
	l := n.listen(name)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerOne(conn, answer)
		}
	}()
	return l
}

func answerOne(conn net.Conn, answer []byte) {
	defer conn.Close()
	r := &reader{wire: &wire{raw: conn, conn: conn}, maxBody: 1 << 20}
	if r.magic() != nil {
		return
	}
	if _, err := r.next(); err != nil {
		return
	}
	conn.Write(answer)
	for {
		if _, err := r.next(); err != nil {
			return
		}
	}
}

// A dialer meets each kind of answer to its hello, and of later frames.
func TestAnswersToAHello(t *testing.T) {
	good := hello{highest: 1, cluster: "prod", from: 2, to: 1, instance: 9, maxBody: 1 << 20}
	welcome := func(change func(*hello)) []byte {
		h := good
		change(&h)
		return appendWelcome([]byte(magic), h)
	}
	after := func(frames []byte) []byte { return append(welcome(func(*hello) {}), frames...) }
	p := packetOf(2, 1, 1)
	for name, c := range map[string]struct {
		answer []byte
		says   string // empty: it is taken for a welcome
	}{
		"welcome":                    {answer: welcome(func(*hello) {})},
		"another cluster":            {welcome(func(h *hello) { h.cluster = "test" }), `it is of cluster "test", this is cluster "prod"`},
		"another server":             {welcome(func(h *hello) { h.from = 3 }), "server 3 answers to server 1, but server 1 has dialed server 2"},
		"to another server":          {welcome(func(h *hello) { h.to = 3 }), "server 2 answers to server 3"},
		"a version that is not ours": {welcome(func(h *hello) { h.highest = 2 }), "it wants version 2 of the format, this server speaks 1 to 1"},
		"version 0":                  {welcome(func(h *hello) { h.highest = 0 }), "it wants version 0"},
		"another magic":              {[]byte("HTTP/1.1 400 Bad Request"), `it speaks "HTTP/1.1", not this protocol`},
		"a hello":                    {appendHello([]byte(magic), helloOf(2, 1, 9)), "it answers with a frame of kind 1"},
		"a frame of version 1":       {append([]byte(magic), appendEmpty(nil, kindWelcome, 1)...), "it answers with a frame of version 1"},
		"an empty welcome":           {append([]byte(magic), appendEmpty(nil, kindWelcome, 0)...), "a welcome is cut short"},
		"an empty refuse":            {append([]byte(magic), appendEmpty(nil, kindRefuse, 0)...), "a refusal is cut short"},
		"a refuse":                   {appendRefuse([]byte(magic), refuse(ReasonTo, "go away"), 0), `it refuses this server: "go away"`},
		"a refuse later":             {after(appendRefuse(nil, refuse(ReasonSpoofed, "go away"), 1)), `it refuses this server: "go away"`},
		"a packet":                   {after(sealed(appendPacket(nil, &p))), "a frame of kind 4 is not allowed here"},
		"a pong of another version":  {after(appendEmpty(nil, kindPong, 2)), "a frame has version 2, but version 1 was agreed on"},
		"pongs and what is to come":  {answer: after(append(appendEmpty(nil, 77, 1), appendEmpty(nil, kindPong, 1)...))},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *pipes) {
				book := &logBook{}
				l := answering(n, "two", c.answer)
				a := n.start(t, 1, knows(2), logsTo(book))
				time.Sleep(time.Millisecond)
				synctest.Wait()
				s := a.Stats()
				if c.says == "" {
					assert.True(t, s.Peers[0].Out)
				} else {
					assert.Contains(t, s.Peers[0].Err, c.says)
					book.says(t, "peer=2", c.says)
				}
				assert.Zero(t, s.Received)
				a.Close()
				l.Close()
			})
		})
	}
}

// The caller may change its slices and maps after Listen.
func TestListenKeepsNothing(t *testing.T) {
	c := plainConfig(1, 3)
	c.Peers = map[paxos.ServerID]string{2: "127.0.0.1:1"}
	tr := start(t, c)
	clear(c.Members.Acceptors)
	clear(c.Peers)
	assert.True(t, isMember(tr.config.Members, 2))
	assert.Equal(t, "127.0.0.1:1", tr.Stats().Peers[0].Addr)
}
