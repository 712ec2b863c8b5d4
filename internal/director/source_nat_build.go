package director

import "baton/internal/sourcenat"

// newNAT makes the keeper of the source NAT for the director.
func (d *Director) newNAT() *natKeeper {
	var ours bool
	if _, err := d.store.load(natFile, &ours); err != nil {
		d.log.Warn("whether an earlier run left a table for source NAT is not known", "error", err)
	}
	return newNATKeeper(natWorld{
		open: func() (natTable, error) {
			t, err := sourcenat.New()
			if err != nil {
				return nil, err
			}
			return t, nil
		},
		event: d.event, remember: d.keepNAT, log: d.log,
	}, ours)
}

func (d *Director) keepNAT(ours bool) {
	if err := d.store.save(natFile, ours); err != nil {
		d.log.Warn("that the nftables table is ours could not be kept; it will outlive a crash after which "+
			"no service has source_nat any more", "error", err)
	}
}
