package back

func (m *machine) turn() {
	if m.turns++; m.turns < limit {
		m.begin()
	}
}
