package tcp

import (
	"bufio"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// The cost of strangers, measured. They are in another process, so that only the listener's share counts.

// The environment variables that make this test binary a crowd of clients.
const (
	crowdAddr = "PAXOS_TCP_CROWD"
	crowdSize = "PAXOS_TCP_CROWD_SIZE"
	crowdSays = "PAXOS_TCP_CROWD_SAYS"
)

// crowd connects as often as it was told, says the same on each connection, prints how many it has, and holds them until
// its standard input ends. It prints nothing else.
func crowd(addr string) {
	size, _ := strconv.Atoi(os.Getenv(crowdSize))
	says, _ := hex.DecodeString(os.Getenv(crowdSays))
	var conns []net.Conn
	for range size {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Println(len(conns), err)
			break
		}
		conn.Write(says)
		conns = append(conns, conn)
	}
	fmt.Println(len(conns))
	io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
}

// startCrowd returns when the crowd has connected, and a function that ends it.
func startCrowd(t testing.TB, addr string, size int, says []byte) (end func()) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crowdAddr+"="+addr, crowdSize+"="+strconv.Itoa(size), crowdSays+"="+hex.EncodeToString(says))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	end = sync.OnceFunc(func() {
		in.Close()
		cmd.Wait()
	})
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	if line = strings.TrimSpace(line); line != strconv.Itoa(size) {
		if strings.Contains(line, "too many open files") {
			t.Skipf("this machine does not allow %d connections of one process: %s", size, line)
		}
		require.Fail(t, "not all connected", line)
	}
	return end
}

// memory returns the bytes allocated so far, and those taken from the system.
func memory() (allocated, system uint64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc, m.Sys
}

// bareTLS is a listener that does what crypto/tls needs and nothing else. Its allocations are not ours.
func bareTLS(t *testing.T, size int, says []byte) uint64 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	config := serverTLS(secureConfig(1, 2).TLS)
	var all sync.WaitGroup
	begun := make(chan struct{}, size)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(timeout))
			all.Go(func() {
				defer conn.Close()
				begun <- struct{}{}
				tls.Server(conn, config).Handshake()
			})
		}
	})
	before, _ := memory()
	end := startCrowd(t, l.Addr().String(), size, says)
	for range size {
		<-begun
	}
	after := settled()
	end()
	l.Close()
	all.Wait()
	return after - before
}

// settled returns what was allocated when next to nothing is allocated any more: the waiting itself takes a little.
func settled() uint64 {
	last, _ := memory()
	for quiet := 0; quiet < 10; {
		<-time.After(5 * time.Millisecond)
		now, _ := memory()
		if quiet++; now-last > 2<<10 {
			quiet = 0
		}
		last = now
	}
	return last
}

// A connection that has not proved who it is costs 8 KiB at most, beyond what crypto/tls allocates, whatever it claims.
func TestStrangersAreCheap(t *testing.T) {
	const size, most = 200, 8 << 10
	claim := append([]byte(magic), "\x00\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"...) // a hello of 1,024 bytes, the most
	for name, c := range map[string]struct {
		config func(paxos.ServerID, int) Config
		says   []byte
	}{
		"plain, silent":   {plainConfig, nil},
		"plain, claiming": {plainConfig, append(claim, make([]byte, 900)...)},
		"TLS, silent":     {secureConfig, nil},
		"TLS, claiming":   {secureConfig, []byte("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc")}, // a ClientHello of 16 KiB
	} {
		t.Run(name, func(t *testing.T) {
			bare := uint64(0)
			if strings.HasPrefix(name, "TLS") {
				bare = bareTLS(t, size, c.says)
			}
			tr := start(t, c.config(1, 2))
			before, _ := memory()
			end := startCrowd(t, tr.Addr().String(), size, c.says)
			eventually(t, "all have connected", func() bool { return tr.Stats().Pending == size })
			after := settled()
			end()
			each := (int64(after-before) - int64(bare)) / size
			t.Logf("%d bytes for each, %d of crypto/tls beside it", each, bare/size)
			assert.LessOrEqual(t, each, int64(most))
			assert.Positive(t, int64(after-before))
		})
	}
}

// 10,000 connections that say nothing cost 64 MiB at most: 256 are kept, the oldest goes. Whoever is let in stays, and
// whoever comes while they hold the line is let in.
func TestTenThousandIdleConnections(t *testing.T) {
	const size, most = 10000, 64 << 20
	for name, config := range map[string]func(paxos.ServerID, int) Config{"plain": plainConfig, "TLS": secureConfig} {
		t.Run(name, func(t *testing.T) {
			c := config(1, 3)
			c.Timing.Handshake = time.Minute // they are not closed for being slow
			tr := start(t, c)
			friend, late := start(t, config(2, 3)), config(3, 3)
			acquaint(t, tr, friend)
			arrives(t, friend, tr, 1)
			_, before := memory()
			end := startCrowd(t, tr.Addr().String(), size, nil)
			eventually(t, "all were accepted", func() bool { return tr.Stats().Accepted >= size+1 })
			_, after := memory()
			t.Logf("%d KiB from the system for %d connections", (after-before)>>10, size)
			assert.LessOrEqual(t, int64(after)-int64(before), int64(most))
			s := tr.Stats()
			assert.Equal(t, 256, s.Pending)
			assert.Equal(t, uint64(1), s.Welcomed, "the friend has not lost its connection")
			arrives(t, friend, tr, 2)
			newcomer := start(t, late)
			acquaint(t, tr, newcomer)
			arrives(t, newcomer, tr, 3)
			end()
			eventually(t, "all are gone", func() bool { return tr.Stats().Pending == 0 })
			// 10,000 refusals, some of them by end of file, and nobody has a log of 10,000 lines.
			refused := uint64(0)
			for _, n := range tr.Stats().Refused {
				refused += n
			}
			assert.Equal(t, uint64(size), refused)
		})
	}
}

// Whatever is said to the port, the listener lives, says so once, and hears its friends.
func TestGarbage(t *testing.T) {
	p := packetOf(2, 1, 66)
	packet := sealed(appendPacket(nil, &p))
	later := appendPacket(nil, &p)
	seal(later, 2)
	hello := appendHello([]byte(magic), helloOf(2, 1, 7))
	altered := append([]byte(nil), hello...)
	altered[len(altered)-1] ^= 1
	says := map[string][]byte{
		"HTTP": []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "zeros": make([]byte, 100), "half the magic": []byte(magic[:4]),
		"another magic": []byte("paxos\r\n\x01rest of it"), "a packet first": append([]byte(magic), packet...), "no magic": hello[len(magic):],
		"a hello altered": altered, "half a hello": hello[:len(hello)/2], "a ping first": append([]byte(magic), appendEmpty(nil, kindPing, 0)...),
		"a hello of a later version":    append([]byte(magic), appendEmpty(nil, kindHello, 1)...),
		"an empty hello":                append([]byte(magic), appendEmpty(nil, kindHello, 0)...),
		"a hello twice":                 append(append([]byte(nil), hello...), hello...),
		"a packet of another version":   append(append([]byte(nil), hello...), later...),
		"a packet that is none":         append(append([]byte(nil), hello...), appendEmpty(nil, kindPacket, 1)...),
		"a frame of 4 GiB":              append(append([]byte(nil), hello...), "\xff\xff\xff\xff\x01\x04\x00\x00\x00\x00\x00\x00"...),
		"a packet, then one altered":    append(append(append([]byte(nil), hello...), appendEmpty(nil, kindPing, 1)...), append([]byte("\x01\x00\x00\x00"), packet...)...),
		"a refuse as if it listened":    append(append([]byte(nil), hello...), appendRefuse(nil, errCrowded, 1)...),
		"a welcome as if it listened":   append(append([]byte(nil), hello...), sealed(appendEmpty(nil, kindWelcome, 1))...),
		"half a frame of the handshake": append([]byte(nil), hello[:len(magic)+6]...),
	}
	for name, config := range map[string]func(paxos.ServerID, int) Config{"plain": plainConfig, "TLS": secureConfig} {
		t.Run(name, func(t *testing.T) {
			book := &logBook{}
			c := config(1, 3)
			c.Logger = book.logger()
			tr := start(t, c)
			friend := start(t, config(3, 3))
			acquaint(t, tr, friend)
			arrives(t, friend, tr, 1)
			for what, b := range says {
				var own *tls.Config
				if name == "TLS" {
					own = &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{theAuthority().issue("prod", 2)}}
				}
				conn := dialBy(t, tr, own)
				conn.send(b)
				if tcp, ok := conn.r.wire.raw.(*net.TCPConn); ok {
					tcp.CloseWrite()
				}
				conn.ended()
				t.Log(what)
			}
			nothing(t, tr, func(p paxos.Packet) bool { return p.From == 3 })
			arrives(t, friend, tr, 2)
			eventually(t, "all are gone", func() bool { s := tr.Stats(); return s.Pending == 0 && !s.Peers[0].In })
			s := tr.Stats()
			assert.Equal(t, uint64(len(says)), s.Accepted-1)
			assert.Equal(t, uint64(len(says)), s.Refused[ReasonMalformed]+s.BadFrames, "%v", s)
			assert.Less(t, strings.Count(book.String(), "\n"), 16)
		})
	}
}
