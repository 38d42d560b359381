package build

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"skiff.example/stage01-chroot/hint"
	"skiff.example/stage05-images/image"
)

// The recipe as it is written: its stages, what they need of each other, and the
// variables before the first of them.

// recipe is a parsed Dockerfile.
type recipe struct {
	file   string
	lex    *shell.Lex
	stages []instructions.Stage
	global variables       // those of ARG before the first FROM, for FROM
	used   map[string]bool // the caller's that were taken there
}

// maxRecipe is how large a Dockerfile may be, in bytes.
const maxRecipe = 1 << 20

// readRecipe reads a Dockerfile. args are the caller's values for ARG.
func readRecipe(file string, args map[string]string) (*recipe, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, hint.Add(fmt.Errorf("read recipe: %w", err), "name it: --file FILE")
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxRecipe {
		return nil, errors.Join(fmt.Errorf("read recipe %q: want a plain file of at most %d bytes", file, maxRecipe), err)
	}
	r := &recipe{file: file, global: platformVariables(), used: map[string]bool{}}
	parsed, err := parser.Parse(f)
	if err != nil {
		return nil, r.parseError(err)
	}
	r.lex = shell.NewLex(parsed.EscapeToken)
	for _, node := range parsed.AST.Children {
		if err := r.add(node, args); err != nil {
			return nil, r.at(node.Location(), node.Original, err)
		}
	}
	if len(r.stages) == 0 {
		return nil, fmt.Errorf("%s: no FROM: want at least one stage", file)
	}
	return r, nil
}

// parseError is an error of the parser, with its line if it says one.
func (r *recipe) parseError(err error) error {
	var where *parser.LocationError
	if errors.As(err, &where) && len(where.Locations) > 0 {
		return r.at(where.Locations[0], "", err)
	}
	return fmt.Errorf("%s: %w", r.file, err)
}

// at says where an error happened.
func (r *recipe) at(where []parser.Range, text string, err error) error {
	place := r.file
	if len(where) > 0 {
		place = fmt.Sprintf("%s:%d", r.file, where[0].Start.Line)
	}
	if text = firstLine(text); text != "" {
		place += ": " + text
	}
	return fmt.Errorf("%s: %w", place, err)
}

// add adds an instruction.
func (r *recipe) add(node *parser.Node, args map[string]string) error {
	command, err := instructions.ParseInstruction(node)
	if err != nil {
		return err
	}
	switch c := command.(type) {
	case *instructions.Stage:
		if c.Platform, err = r.expand(c.Platform, r.global); err == nil {
			c.BaseName, err = r.expand(c.BaseName, r.global)
		}
		if err == nil && c.BaseName == "" {
			err = errors.New("the name of the image is empty")
		}
		r.stages = append(r.stages, *c)
		return err
	case *instructions.ArgCommand:
		if len(r.stages) == 0 {
			return r.declare(c, r.global, r.global, args, r.used)
		}
	case instructions.Command:
		if len(r.stages) == 0 {
			return errors.New("comes before the first FROM")
		}
	default:
		return fmt.Errorf("%T is no instruction", c)
	}
	r.stages[len(r.stages)-1].AddCommand(command.(instructions.Command))
	return nil
}

// find returns the number of a stage: "" is the last.
func (r *recipe) find(name string) (int, error) {
	if name == "" {
		return len(r.stages) - 1, nil
	}
	if i, ok := r.before(len(r.stages), name); ok {
		return i, nil
	}
	return 0, fmt.Errorf("%s: no stage %q", r.file, name)
}

// before finds a stage that comes before another, by name or by number.
func (r *recipe) before(number int, name string) (int, bool) {
	if i, ok := instructions.HasStage(r.stages[:number], name); ok && name != "" {
		return i, true
	}
	i, err := strconv.Atoi(name)
	return i, err == nil && i >= 0 && i < number
}

// base is the stage that a stage begins from, or -1 if that is an image.
func (r *recipe) base(number int) int {
	if i, ok := instructions.HasStage(r.stages[:number], r.stages[number].BaseName); ok {
		return i
	}
	return -1
}

// needed are the stages that a stage needs, itself the last, in their order.
func (r *recipe) needed(target int) (list []int, err error) {
	need := map[int]bool{target: true}
	for i := target; i >= 0; i-- {
		if !need[i] {
			continue
		}
		list = append(list, i)
		if base := r.base(i); base >= 0 {
			need[base] = true
		}
		for _, command := range r.stages[i].Commands {
			c, ok := command.(*instructions.CopyCommand)
			if !ok || c.From == "" {
				continue
			}
			if from, ok := r.before(i, c.From); ok {
				need[from] = true
			} else if _, ok := r.before(len(r.stages), c.From); ok {
				return nil, r.at(c.Location(), source(c), fmt.Errorf("stage %q does not come before this one", c.From))
			}
		}
	}
	slices.Reverse(list)
	return list, nil
}

// supported refuses what skiff does not do, before any step is done.
func (r *recipe) supported(stage int) error {
	for _, command := range r.stages[stage].Commands {
		var err error
		switch c := command.(type) {
		case *instructions.RunCommand:
			if len(c.FlagsUsed) > 0 {
				err = fmt.Errorf("flag --%s is not supported", c.FlagsUsed[0])
			} else if len(c.Files) > 0 {
				err = hint.Add(errHereDocument, `join the commands with && and \, or COPY a script`)
			}
		case *instructions.CopyCommand:
			err = supportedCopy(c.SourcesAndDest, c.Link || c.Parents || len(c.ExcludePatterns) > 0)
		case *instructions.AddCommand:
			err = supportedCopy(c.SourcesAndDest, c.Link || c.KeepGitDir != nil || c.Checksum != "" || c.Unpack != nil || len(c.ExcludePatterns) > 0)
		case *instructions.MaintainerCommand:
			err = hint.Add(errors.New("is not supported"), `write: LABEL org.opencontainers.image.authors="…"`)
		case *instructions.OnbuildCommand:
			err = errors.New("is not supported")
		}
		if err != nil {
			return r.at(command.Location(), source(command), err)
		}
	}
	return nil
}

var errHereDocument = errors.New("a here-document is not supported")

// supportedCopy does that for COPY and ADD; flags are those that skiff lacks.
func supportedCopy(c instructions.SourcesAndDest, flags bool) error {
	if flags {
		return errors.New("of the flags only --from, --chown and --chmod are supported")
	}
	if len(c.SourceContents) > 0 {
		return hint.Add(errHereDocument, "put it into a file of the context")
	}
	return nil
}

// variables are those of ARG and ENV; it is a shell.EnvGetter.
type variables map[string]string

// Get implements shell.EnvGetter.
func (v variables) Get(name string) (string, bool) { value, ok := v[name]; return value, ok }

// Keys implements shell.EnvGetter.
func (v variables) Keys() (names []string) {
	for name := range v {
		names = append(names, name)
	}
	return names
}

// platformVariables are those that every recipe may ask for.
func platformVariables() variables {
	p := image.HostPlatform()
	v := variables{}
	for _, whose := range []string{"TARGET", "BUILD"} {
		v[whose+"PLATFORM"], v[whose+"OS"], v[whose+"ARCH"], v[whose+"VARIANT"] = image.PlatformString(p), p.OS, p.Architecture, p.Variant
	}
	return v
}

// proxies are the arguments that need no ARG: RUN has them as variables.
var proxies = map[string]bool{
	"HTTP_PROXY": true, "http_proxy": true, "HTTPS_PROXY": true, "https_proxy": true, "FTP_PROXY": true, "ftp_proxy": true,
	"NO_PROXY": true, "no_proxy": true, "ALL_PROXY": true, "all_proxy": true,
}

// declare does an ARG: its variables come into v, with the caller's value, the
// default, or the value from before the first FROM.
func (r *recipe) declare(c *instructions.ArgCommand, v, seen variables, args map[string]string, used map[string]bool) error {
	if err := c.Expand(func(word string) (string, error) { return r.expand(word, seen) }); err != nil {
		return err
	}
	for _, a := range c.Args {
		value, given := args[a.Key]
		used[a.Key] = used[a.Key] || given
		switch global, ok := r.global[a.Key]; {
		case given:
			v[a.Key] = value
		case a.Value != nil:
			v[a.Key] = *a.Value
		case ok:
			v[a.Key] = global
		}
	}
	return nil
}

// expand replaces variables, and takes quotes away.
func (r *recipe) expand(word string, v variables) (string, error) {
	text, _, err := r.lex.ProcessWord(word, v)
	return text, err
}

// checkPlatform refuses what does not run here.
func checkPlatform(text string) error {
	if text == "" {
		return nil
	}
	want, err := image.ParsePlatform(text)
	if err == nil && !image.Matches(image.HostPlatform(), want) {
		err = image.WrongPlatform(want, []ocispec.Platform{image.HostPlatform()})
	}
	if err != nil {
		return hint.Add(fmt.Errorf("--platform=%s: %w", text, err), "a build is for the machine that it runs on")
	}
	return nil
}
