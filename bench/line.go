package main

import "fmt"

// line says in a few words what came out, while others still run.
func (r result) line(w work) string {
	s := countText(r.PerSecond) + "/s"
	if w.Gap {
		s += fmt.Sprintf(", longest pause %s, before %s", millisText(r.After), millisText(r.Before))
	} else {
		s += fmt.Sprintf(", p50 %s, p99 %s", microsText(r.P50), microsText(r.P99))
	}
	if r.Memory != nil {
		s += fmt.Sprintf(", %s B of memory per decided instance", countText(*r.Memory))
	}
	if r.Errors > 0 && !w.Gap { // there, some calls must fail
		s += fmt.Sprintf(", %d errors, first: %s", r.Errors, r.Error)
	}
	if r.OtherCPU > busyCores {
		s += fmt.Sprintf(" * others used %.1f cores", r.OtherCPU)
	}
	return s
}
