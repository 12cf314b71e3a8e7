// Package back is a sample: first.go calls a method that second.go declares, which calls first.go.
package back

type machine struct{ turns int }

func (m *machine) begin() { m.turn() }
