package doctor

// This file checks what it takes to build skiff; a built skiff needs none of
// it.

import "go/version"

// oldestGo is the version that the go.mod files ask for.
const oldestGo = "go1.26"

func buildChecks() []Check {
	return []Check{{"Go", 1, lookAtGo}}
}

func lookAtGo(h Host) Result {
	const remedy = "only for building: https://go.dev/doc/install; under sudo, keep PATH: sudo env PATH=\"$PATH\" make doctor"
	switch {
	case h.Go == "":
		return warn("no go in PATH", remedy)
	case version.Compare(h.Go, oldestGo) < 0:
		return warn(h.Go+", not "+oldestGo+" or newer", remedy)
	}
	return ok("%s (%s or newer)", h.Go, oldestGo)
}
