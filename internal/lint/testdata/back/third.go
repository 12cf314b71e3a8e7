package back

const limit = 3
