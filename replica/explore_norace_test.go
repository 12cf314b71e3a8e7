//go:build !race

package replica

const exRace = false
