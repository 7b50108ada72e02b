package netmap

import "math"

// DefaultSize is the size of a content that a file says nothing about.
const DefaultSize = 1 << 30

// Decode reads a network and a problem from JSON, as docs/netmap.md describes it. It takes nothing that is not described there:
// what is wrong is told by an *Error that names the place. New and Map.Plan check what is left.
func Decode(data []byte) (Network, Problem, error) {
	r, err := newReader(data)
	if err != nil {
		return Network{}, Problem{}, err
	}
	d := decoder{reader: r, problem: Problem{Objective: Time, Size: DefaultSize}, unpriced: none}
	if err := d.object(d.top); err != nil {
		return Network{}, Problem{}, err
	}
	if d.unpriced != none && d.problem.Objective == Cost {
		return Network{}, Problem{}, wrong(at("edges", d.unpriced), "it has no cost, which the objective %q needs", Cost)
	}
	return d.network, d.problem, nil
}

type decoder struct {
	*reader
	network  Network
	problem  Problem
	unpriced int // the first edge without a cost, or none
}

func (d *decoder) top(field string) error {
	switch field {
	case "schema":
		return d.schema()
	case "nodes":
		return d.array(d.node)
	case "sites":
		return d.array(d.site)
	case "edges":
		return d.array(d.edge)
	case "holders":
		return d.array(func(int) error { return d.id(&d.problem.Holders) })
	case "wanters":
		return d.array(func(int) error { return d.id(&d.problem.Wanters) })
	case "objective":
		var name string
		err := d.text(&name)
		d.problem.Objective = Objective(name)
		return err
	case "size":
		return d.size()
	}
	return d.unknown()
}

func (d *decoder) schema() error {
	var n float64
	if err := d.number(&n); err != nil {
		return err
	}
	if n != 1 {
		return d.wrong("%v; only 1 is known", n)
	}
	return nil
}

func (d *decoder) size() error {
	var n float64
	if err := d.number(&n); err != nil {
		return err
	}
	if n < 0 || n != math.Trunc(n) || n >= 1<<63 {
		return d.wrong("%v is not a number of bytes", n)
	}
	d.problem.Size = int64(n)
	return nil
}

func (d *decoder) id(list *[]string) error {
	var id string
	err := d.text(&id)
	*list = append(*list, id)
	return err
}

func (d *decoder) node(int) error {
	var n Node
	err := d.object(func(field string) error {
		switch field {
		case "id":
			return d.text(&n.ID)
		case "relay":
			return d.boolean(&n.Relay)
		case "up":
			return d.rate(&n.Up)
		case "down":
			return d.rate(&n.Down)
		case "site":
			return d.text(&n.Site)
		}
		return d.unknown()
	})
	d.network.Nodes = append(d.network.Nodes, n)
	return err
}

func (d *decoder) site(int) error {
	var s Site
	err := d.object(func(field string) error {
		switch field {
		case "id":
			return d.text(&s.ID)
		case "up":
			return d.rate(&s.Up)
		case "down":
			return d.rate(&s.Down)
		}
		return d.unknown()
	})
	d.network.Sites = append(d.network.Sites, s)
	return err
}

func (d *decoder) edge(i int) error {
	var e Edge
	priced := false
	err := d.object(func(field string) error {
		switch field {
		case "from":
			return d.text(&e.From)
		case "to":
			return d.text(&e.To)
		case "cost":
			priced = true
			return d.number(&e.Cost)
		case "rate":
			return d.rate(&e.Rate)
		case "rtt":
			return d.number(&e.RTT)
		}
		return d.unknown()
	})
	if !priced && d.unpriced == none {
		d.unpriced = i
	}
	d.network.Edges = append(d.network.Edges, e)
	return err
}

// rate refuses the 0 that in an Edge stands for no limit: a person would mean none at all.
func (d *decoder) rate(to *float64) error {
	if err := d.number(to); err != nil {
		return err
	}
	if *to == 0 {
		return d.wrong("0 is not a rate; leave it out where there is no limit, or leave out the edges that carry nothing")
	}
	return nil
}
