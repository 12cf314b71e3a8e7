// Package spacetime draws a run of a distributed system as text: a column for each server, time going down, an arrow for
// each message.
//
//	   ms    server 1                   server 2
//	         │                          │
//	    0    ◆ propose "burger"         │
//	 0–10    ●─ prepare 1.1 "burger" ──►│
//	10–11    │                          ■ promised 1.1
//	11–21    │◄───────── promise 1.1 ───●
//
// A run fixes only two orders: that of the events on one server, and that of the sending and the arrival of a message. See Lamport, Time,
// Clocks, and the Ordering of Events, 1978. Draw uses that freedom. A message is one level arrow, from its sending to its arrival, where no
// server's order forbids it. Events of several servers at the same time share a row. A message that arrives late, or crosses another one,
// is two half arrows with the same number.
//
// Layers: plan.go finds the rows, layout.go the places of the columns, draw.go the characters.
package spacetime

import "time"

// A Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	Note    Kind = iota + 1 // Text happened on Lane; Symbol stands before it
	Send                    // Lane sends Text to Peer, as message number Message
	Arrive                  // message number Message arrives
	Lose                    // message number Message is lost
	Begin                   // Lane begins something that takes time: a save. Text says what
	End                     // Lane has ended something that it began; Text, if not empty, says so where the two have rows of their own
	Crash                   // Lane is down from now on; Text says more
	Restart                 // Lane is up again; Text says more
	Pause                   // Lane stands still
	Resume                  // Lane goes on
)

// An Event is one thing that happened.
type Event struct {
	Kind    Kind
	At      time.Duration
	Lane    int // from 0
	Peer    int // of a Send: the lane that it goes to
	Message int // joins a Send with its Arrive or Lose events; more than one Arrive is a duplicate
	Late    bool
	Symbol  rune
	Text    string
}

// Symbols of a diagram. Note events bring their own.
const (
	SymbolSend    = '●'
	SymbolBegin   = '□'
	SymbolEnd     = '■'
	SymbolCrash   = '╳'
	SymbolRestart = '◇'
	SymbolPause   = '┬'
	SymbolResume  = '┴'
	symbolLost    = '✗'
	symbolRight   = '►'
	symbolLeft    = '◄'
)

// Draw returns the diagram of events, which are in the order in which they happened. No line is longer than width, if that
// is possible at all; text that has no room is wrapped. Lines end without spaces.
func Draw(lanes []string, events []Event, width int) string {
	rows := plan(len(lanes), events)
	return draw(lanes, rows, layOut(lanes, rows, width))
}
