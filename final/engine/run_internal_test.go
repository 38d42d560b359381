package engine

import (
	"context"
	"errors"
	"testing"

	"gotest.tools/v3/assert"

	"skiff.example/final/container"
)

// Ctrl-C that came when nobody caught signals for the container ends the context, and then
// there shall be none: the user would have to press again.
func TestNoContainerAfterCtrlC(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	status, err := (&Engine{}).run(ctx, container.Config{})
	assert.ErrorIs(t, err, interrupted)
	assert.Equal(t, status, 0)
}
