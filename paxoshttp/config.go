package paxoshttp

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/singledecree/paxos"
)

// An Action is what a request asks for, in a call of [Config].Allow.
type Action struct {
	// Call is the name of the call, such as [CallPropose].
	Call string
	// Names are the instances that the call is about. A watch has those it asks for, or all. A call about the server or its members
	// has none. Allow must not change them.
	Names []paxos.NameRange
}

// A Config describes a [Handler]. In every field the zero value means the default.
type Config struct {
	// Allow decides whether a request may do something. It is called once, when the request is understood and before anything is
	// done. Its error is the answer: 401 if it wraps [ErrUnauthenticated], else 403. Default: [Loopback].
	//
	// Allow must be safe for concurrent use. The body of the request has been read, so a guard that is to come before that belongs
	// in front of the Handler.
	Allow func(r *http.Request, a Action) error
	// Host has the knowledge of the host that a Node does not have.
	Host Host

	// MaxTimeout bounds the time of every call but watch, and is the default of its timeout. Default: 1 min.
	MaxTimeout time.Duration
	// ReadyTimeout bounds the time of readyz. Default: 1 s.
	ReadyTimeout time.Duration
	// BodyTimeout bounds the time in which a body has to come. Default: 10 s.
	BodyTimeout time.Duration
	// WriteTimeout bounds the time in which a client has to take an answer, or the next line of a watch. Default: 30 s. It and BodyTimeout
	// count in place of the ReadTimeout and WriteTimeout of the [http.Server], which would end long calls. A writer that the host puts in
	// front needs the method Unwrap for that.
	WriteTimeout time.Duration
	// Heartbeat is the time between two signs of life of a watch. Default: 10 s. A [Client] gives up a watch after
	// ClientConfig.Silence without one.
	Heartbeat time.Duration

	// MaxBody bounds the bytes of one body. Default and most: 8 MiB, which is more than a value of 1 MiB takes in JSON.
	MaxBody int
	// MaxBodies bounds the bytes of all bodies that are held at a time. Default: 64 MiB. A body counts as it comes, until its call
	// ends. A request beyond it is answered 503.
	MaxBodies int
	// MaxAnswers bounds the bytes of all answers that clients have not taken yet, beside watches. Default: 256 MiB, least: 8 MiB. An answer beyond
	// it becomes 503, with "unknown": true if the call has an effect.
	MaxAnswers int
	// MaxCalls bounds the calls at a time, beside watches. Default: 4,096. A call beyond it is answered 503.
	MaxCalls int
	// MaxWatches bounds the watches at a time. Default: 256. A watch beyond it is answered 503. Each holds a line that its client has not
	// taken, and up to 2 MiB of values that follow it.
	MaxWatches int
}

// A Host is the knowledge that a host has of its server and a Node does not. Every function may be nil; then what it gives is
// missing in the answers. They must be safe for concurrent use.
type Host struct {
	// Listen returns where the other servers reach this one.
	Listen func() string
	// Links returns how this server is connected to others.
	Links func() []Link
	// Stored returns how many decisions the storage has, and the bytes that it takes.
	Stored func() (decided int, bytes int64)
	// Left returns the servers that were members and are not any more, ascending. A change that has one of them is refused.
	Left func() ([]paxos.ServerID, error)
	// CheckAddress returns an error if the Transport can't use an address. A change with such an address is refused.
	CheckAddress func(addr string) error
}

// A Link is the connection of a server with another one.
type Link struct {
	ID   paxos.ServerID
	Addr string // where this server reaches it
	Out  bool   // it is connected to send,
	In   bool   // and to receive
	Err  string // why Out is false; empty: not known
}

// withDefaults returns c with the default in place of each zero field, or an error that names the field that is out of range.
func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"MaxTimeout", &c.MaxTimeout, time.Minute}, {"ReadyTimeout", &c.ReadyTimeout, time.Second}, {"BodyTimeout", &c.BodyTimeout, 10 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 30 * time.Second}, {"Heartbeat", &c.Heartbeat, 10 * time.Second},
	} {
		if err := setDefault("Config."+d.name, d.field, d.value, time.Millisecond, 24*time.Hour); err != nil {
			return c, err
		}
	}
	for _, d := range []struct {
		name        string
		field       *int
		value, high int
	}{
		{"MaxBody", &c.MaxBody, most, most}, {"MaxBodies", &c.MaxBodies, 64 << 20, 1 << 30}, {"MaxAnswers", &c.MaxAnswers, 256 << 20, 1 << 30},
		{"MaxCalls", &c.MaxCalls, 4096, 1 << 24}, {"MaxWatches", &c.MaxWatches, 256, 1 << 24},
	} {
		if err := setDefault("Config."+d.name, d.field, d.value, 1, d.high); err != nil {
			return c, err
		}
	}
	if c.MaxBodies < c.MaxBody {
		return c, fmt.Errorf("Config.MaxBodies: %d is below MaxBody, %d", c.MaxBodies, c.MaxBody)
	}
	if c.MaxAnswers < most {
		return c, fmt.Errorf("Config.MaxAnswers: %d is below %d, the largest answer", c.MaxAnswers, most)
	}
	if c.Allow == nil {
		c.Allow = Loopback
	}
	return c, nil
}

// setDefault puts the default in place of 0. Else it returns an error if the value is out of range.
func setDefault[T int | time.Duration](name string, field *T, value, low, high T) error {
	if *field == 0 {
		*field = value
	}
	if *field < low || *field > high {
		return fmt.Errorf("%s: %v: want %v to %v, or 0 for the default", name, *field, low, high)
	}
	return nil
}

// Loopback is the default of [Config].Allow. It allows everything if the Host that is asked for is a loopback address or "localhost",
// and else nothing. That stops a page of another site from reaching a server on the machine of its reader under a name of its own. It
// does not tell who calls: listen on a loopback address, too. A proxy in front may put such a Host into each request that it passes on:
// set Allow there.
func Loopback(r *http.Request, _ Action) error {
	if isLoopback(r.Host) {
		return nil
	}
	return coded(CodeForbidden, fmt.Errorf("Host: %s is not a loopback address", shorten(r.Host)))
}

// isLoopback reports whether addr, "host:port" or "host", can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
		if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
			host = host[1 : len(host)-1]
		}
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// refusal returns the error of a request that Allow refuses with err.
func refusal(err error) error {
	if errors.Is(err, ErrUnauthenticated) {
		return coded(CodeUnauthenticated, err)
	}
	return coded(CodeForbidden, err)
}
