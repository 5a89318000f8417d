#!/usr/bin/env escript
%% One workload of Erlang's gen_server and supervisor: bench.escript CASE N
%% Prints the microseconds that passed per operation; all cores are in use.
-mode(compile).
-export([init/1, handle_call/3, handle_cast/2, start_echo/1, start_tenant/1]).

-define(CROWD, 100).
-define(RING, 1000).

main([Case, Count]) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    N = list_to_integer(Count),
    io:format("~.4f~n", [measure(list_to_atom(Case), N) / N]).

%% Callbacks

init({root, N}) ->
    Tenants = [#{id => I, start => {?MODULE, start_tenant, [I]}, type => supervisor,
                 shutdown => infinity} || I <- lists:seq(1, N)],
    {ok, {#{}, Tenants}};
init(tenant) ->
    {ok, {#{}, [#{id => I, start => {?MODULE, start_echo, [I]}} || I <- lists:seq(1, 4)]}};
init(pool) ->
    Echo = #{id => echo, start => {?MODULE, start_echo, [{name, echo}]}},
    {ok, {#{intensity => 1000000000, period => 1}, [Echo]}};
init(State) ->
    {ok, State}.

handle_call({follow, Next}, _From, _State) -> {reply, ok, {runner, Next}};
handle_call(Number, _From, State) -> {reply, Number, State}.

handle_cast(crash, _State) -> exit(boom);
handle_cast({token, 0, Who}, State) -> Who ! arrived, {noreply, State};
handle_cast({token, Left, Who}, {runner, Next} = State) ->
    gen_server:cast(Next, {token, Left - 1, Who}),
    {noreply, State};
handle_cast(_Message, State) -> {noreply, State}.

start_echo({name, Name}) -> gen_server:start_link({local, Name}, ?MODULE, 0, []);
start_echo(_) -> gen_server:start_link(?MODULE, 0, []).
start_tenant(_) -> supervisor:start_link(?MODULE, tenant).

%% Workloads

measure(call1, N) -> clients(1, N, fun calls/2);
measure(call100, N) -> clients(?CROWD, N, fun calls/2);
measure(cast1, N) -> clients(1, N, fun casts/2);
measure(cast100, N) -> clients(?CROWD, N, fun casts/2);
measure(ring, N) ->
    Runners = [element(2, start_echo(I)) || I <- lists:seq(1, ?RING)],
    [First | Rest] = Runners,
    [gen_server:call(R, {follow, Next}) || {R, Next} <- lists:zip(Runners, Rest ++ [First])],
    timed(fun() ->
        gen_server:cast(First, {token, N, self()}),
        receive arrived -> ok end
    end);
measure(spawn, N) -> timed(fun() -> [start_echo(I) || I <- lists:seq(1, N)] end);
measure(crash, N) ->
    {ok, _} = supervisor:start_link(?MODULE, pool),
    timed(fun() -> [crash(I) || I <- lists:seq(1, N)] end);
measure(tree_start, N) ->
    timed(fun() -> {ok, _} = supervisor:start_link(?MODULE, {root, N}) end);
measure(tree_stop, N) ->
    {ok, Root} = supervisor:start_link(?MODULE, {root, N}),
    timed(fun() ->
        exit(Root, shutdown),
        receive {'EXIT', Root, _} -> ok end
    end).

timed(Fun) -> element(1, timer:tc(Fun)).

clients(Count, N, Work) ->
    {ok, Echo} = start_echo(0),
    timed(fun() ->
        Here = self(),
        Crowd = [spawn(fun() -> Work(Echo, N div Count), Here ! {done, self()} end)
                 || _ <- lists:seq(1, Count)],
        [receive {done, Client} -> ok end || Client <- Crowd]
    end).

calls(_Echo, 0) -> ok;
calls(Echo, N) -> N = gen_server:call(Echo, N), calls(Echo, N - 1).

casts(Echo, 0) -> gen_server:call(Echo, 0);
casts(Echo, N) -> gen_server:cast(Echo, N), casts(Echo, N - 1).

crash(Number) ->
    Old = whereis(echo),
    gen_server:cast(Old, crash),
    New = await(Old),
    Number = gen_server:call(New, Number).

await(Old) ->
    case whereis(echo) of
        undefined -> erlang:yield(), await(Old);
        Old -> erlang:yield(), await(Old);
        New -> New
    end.
