"""The bench's crew with the package crewai: two agents, two tasks, one tool call.

    crewai_crew.py RUNS TOOL_URL kept|anew

Asks the model server of OPENAI_BASE_URL for the model OPENAI_MODEL_NAME. kept: all runs are of one crew, whose cache
is off, or only the first run would call the tool; anew: each run makes its crew, as a program with a class for its
crew does. Prints what the runs behind the first one took, as one line of JSON.
"""

import json
import resource
import sys
import time

import requests
from crewai import Agent, Crew, Process, Task
from crewai.tools import BaseTool
from pydantic import BaseModel, Field

TOOL_URL = sys.argv[2]
called = []


class City(BaseModel):
    city: str = Field(description="The name of the city")


class Population(BaseTool):
    name: str = "population"
    description: str = "How many people live in a city"
    args_schema: type[BaseModel] = City

    def _run(self, city: str) -> str:
        called.append(city)
        return requests.get(TOOL_URL, params={"city": city}, timeout=10).text


def make_crew():
    researcher = Agent(role="Researcher", goal="Find facts about {topic}", backstory="Reads registers.", tools=[Population()])
    writer = Agent(role="Writer", goal="Write about {topic}", backstory="Writes short.")
    facts = Task(description="Find out how many people live in {topic}", expected_output="A number", agent=researcher)
    text = Task(description="Write a sentence about {topic}", expected_output="A sentence", agent=writer, context=[facts])
    return Crew(agents=[researcher, writer], tasks=[facts, text], process=Process.sequential, cache=False)


def run(crew, requests_before):
    called.clear()
    result = crew.kickoff(inputs={"topic": "Vienna"})
    made = result.token_usage.successful_requests - requests_before    # a kept crew adds them up
    if called != ["Vienna"] or made != 3:
        sys.exit(f"the crew made {len(called)} tool calls and {made} model calls, not 1 and 3")


def main():
    runs, anew, crew = int(sys.argv[1]), sys.argv[3] == "anew", make_crew()
    run(crew, 0)
    cpu, begun = time.process_time(), time.monotonic()
    for number in range(1, runs):
        run(make_crew() if anew else crew, 0 if anew else 3 * number)
    print(json.dumps({"cpu_s": time.process_time() - cpu, "wall_s": time.monotonic() - begun,
                      "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


main()
