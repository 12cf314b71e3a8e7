package straight

var _ = use // tests may use all
