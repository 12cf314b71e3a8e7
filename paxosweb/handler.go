package paxosweb

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Handler serves the page of one server. It is safe for concurrent use.
type Handler struct {
	server  Server
	config  Config
	viewers atomic.Int64

	mu     sync.Mutex // guards the fields below
	seen   []part     // of the last look
	seenAt time.Time
	latest latest
}

// NewHandler returns the handler of a page about s. The error names the wrong field of c.
func NewHandler(s Server, c Config) (*Handler, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Handler{server: s, config: c}, nil
}
