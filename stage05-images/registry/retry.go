package registry

// Patience: what failed for a reason that passes is tried again, after a pause
// that doubles each time or is as long as the registry says (Retry-After, RFC
// 9110 section 10.2.3). A pause ends with the context: Ctrl-C does not wait.

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sys/unix"
)

// Retry says how often and how patiently something is tried again. In each
// field 0 means the default.
type Retry struct {
	Attempts int           // in all, without any success in between; default 5
	Pause    time.Duration // after the first; default 200 ms
	Stall    time.Duration // how long nothing may come before a connection counts as broken; default 30 s
}

// longestPause is how long we wait because a registry says so. Who is told more
// decides what to do.
const longestPause = time.Minute

// withDefaults fills in what is not said.
func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 5
	}
	if r.Pause <= 0 {
		r.Pause = 200 * time.Millisecond
	}
	if r.Stall <= 0 {
		r.Stall = 30 * time.Second
	}
	return r
}

// once keeps go-containerregistry from trying again by itself: its pauses know
// of no context and of no Retry-After.
var once = remote.Backoff{Duration: time.Millisecond, Steps: 1}

// wait makes the pause after so many failed attempts; false: that was the last.
func (r Retry) wait(ctx context.Context, failed int) bool {
	if failed >= r.Attempts {
		return false
	}
	d := r.Pause << (failed - 1)
	return pause(ctx, d+rand.N(d/4+1)) == nil // many clients that failed at once should not come back at once
}

// pause waits for d, or until ctx ends, whose cause it then returns.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// passes tells whether an error is of a kind that passes: a connection that
// broke, an answer that did not come, or a registry that is overloaded.
func passes(err error) bool {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return busy(answer.StatusCode)
	}
	late, ok := errors.AsType[net.Error](err)
	return ok && late.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, errStalled)
}

// busy tells whether an HTTP status says: not now.
func busy(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}

// patient is a transport that tries again when nobody answered or the answer
// was not now. It leaves alone what has a body: that is for who sent it.
type patient struct {
	http.RoundTripper
	retry Retry
}

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	for failed := 1; ; failed++ {
		resp, err := p.RoundTripper.RoundTrip(req)
		switch {
		case req.Body != nil && req.Body != http.NoBody:
			return resp, err
		case err != nil:
			if !passes(err) || !p.retry.wait(req.Context(), failed) {
				return resp, err
			}
			continue
		case !busy(resp.StatusCode):
			return resp, nil
		}
		asked, said := retryAfter(resp)
		switch {
		case said && (asked > longestPause || failed >= p.retry.Attempts || pause(req.Context(), asked) != nil),
			!said && !p.retry.wait(req.Context(), failed):
			return resp, nil
		}
		resp.Body.Close()
	}
}

// retryAfter returns how long the registry wants us to wait, if it says so: in
// seconds, or until a date.
func retryAfter(resp *http.Response) (d time.Duration, said bool) {
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second, true
	}
	date, err := http.ParseTime(text)
	return max(time.Until(date), 0), err == nil
}
