package config

// rawTrack is something that a router depends on: exactly one of the first keys
// says what it is.
type rawTrack struct {
	Interface value[device]     `key:"interface"`
	Script    list[value[text]] `key:"script"`
	Ping      value[address]    `key:"ping"`
	File      value[path]       `key:"file"`
	Process   value[text]       `key:"process"`
	Service   value[name]       `key:"service"`

	Weight    value[number]  `key:"weight" range:"-253..253"`
	Interval  value[span]    `key:"interval" range:"10ms..24h" default:"1s"`
	Timeout   value[span]    `key:"timeout" range:"1ms..1h" default:"1s"`
	Rise      value[number]  `key:"rise" range:"1..1000" default:"2"`
	Fall      value[number]  `key:"fall" range:"1..1000" default:"3"`
	User      value[name]    `key:"user"`
	Address   value[boolean] `key:"address" default:"false"`
	UpDelay   value[span]    `key:"up_delay" range:"0s..1h" default:"0s"`
	DownDelay value[span]    `key:"down_delay" range:"0s..1h" default:"0s"`
}

func (rawTrack) kind() string { return "track" }
