package alpn

import (
	"fmt"
	"log/slog"
	"time"
)

// A Config bounds what strangers can do. The zero value means the defaults.
type Config struct {
	// Pending is how many connections may be open that have sent no ClientHello, or that wait for an Accept. The default is 1,024, and
	// 65,536 is the most. One more closes the oldest.
	Pending int
	// Hello bounds the time from the connection until the whole ClientHello has come. The default is 10 s, and 1 hour is the most.
	Hello time.Duration
	// Logger gets a line if connections can't be accepted, at most every 10 s. Its keys are addr and err. Nil: nothing is logged. A goroutine
	// of its own calls it.
	Logger *slog.Logger
}

// Stats counts what a [Port] has done.
type Stats struct {
	Cluster, Host uint64 // connections that an Accept has returned
	Slow          uint64 // connections that sent no whole ClientHello in time
	Ended         uint64 // connections that ended or failed before their whole ClientHello had come
	Crowded       uint64 // connections that were closed to make room: see Config.Pending
	Late          uint64 // connections for a half that was closed
	AcceptErrors  uint64 // failures of Accept of the listener below
	Pending       int    // connections open now that have sent no ClientHello, or wait for an Accept
}

func (c Config) withDefaults() Config {
	if c.Pending == 0 {
		c.Pending = 1024
	}
	if c.Hello == 0 {
		c.Hello = 10 * time.Second
	}
	return c
}

func (c Config) check() error {
	switch {
	case c.Pending < 1 || c.Pending > 1<<16:
		return fmt.Errorf("Config.Pending: %d: want 1 to %d, or 0 for the default", c.Pending, 1<<16)
	case c.Hello < time.Millisecond || c.Hello > time.Hour:
		return fmt.Errorf("Config.Hello: %v: want 1ms to 1h0m0s, or 0 for the default", c.Hello)
	}
	return nil
}
