//go:build !unix

package tcp

import "net"

// A prompt does not exist here: the goroutine of each sender writes all that is sent.
type prompt struct{}

func newPrompt(net.Conn) *prompt { return nil }

func (*prompt) write([]byte) (int, error) { panic("tcp: there is no prompt") }
