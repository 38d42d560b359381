package registry

// A registry in this very process, for demos and tests.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"skiff.example/stage01-chroot/hint"
)

// Serve runs a registry on addr, host:port with a loopback host; port 0 takes a
// free one. It keeps everything in memory, asks nobody who they are, and speaks
// plain HTTP, so it refuses addresses that others could reach.
//
// It returns the host:port it listens on. It runs until stop is called or ctx
// ends; stop waits until it does not run any more, and may be called twice.
func Serve(ctx context.Context, addr string) (listening string, stop func() error, err error) {
	if !isLoopback(hostname(addr)) {
		return "", nil, hint.Add(fmt.Errorf("serve registry on %q: not a loopback address", addr), "use 127.0.0.1:0")
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", nil, fmt.Errorf("serve registry on %q: %w", addr, err)
	}
	server := &http.Server{
		Handler:           ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: answerTimeout,
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(listener)
		close(served)
	}()
	release := context.AfterFunc(ctx, func() { _ = server.Close() })
	return listener.Addr().String(), func() error {
		release()
		err := server.Close()
		if end, running := <-served; running && !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		return err
	}, nil
}
